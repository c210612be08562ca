r"""MATH-500: 500 problems of MATH (Hendrycks et al., 2021, arXiv:2103.03874; Lightman et al., 2023), MIT.

    {"problem": "Convert the point $(0,3)$ ... to polar coordinates. ...", "solution": "... $\boxed{\left( 3, ...",
     "answer": "\\left( 3, \\frac{\\pi}{2} \\right)", "subject": "Precalculus", "level": 2, "unique_id": "test/..."}

`minerva_math500` reproduces the task of this name (version 3.1) in lm-evaluation-harness 0.4.13: four solved examples,
256 tokens, and two filters. `exact_match` reads the sentence that the examples end with and compares by sympy;
`math_verify` reads the whole response and compares it with the whole solution.

`math500` is our own variant: the prompt of Qwen2.5-Math and evalscope. `boxed` reads the last box and compares it as
text, as a number and by math-verify; `math_verify` lets math-verify read the whole response. Both need the math extra.
"""

import re
from pathlib import Path

import msgspec

from manycall.evals.scoring.latex_answers import hendrycks_box, normalize_latex
from manycall.evals.scoring.math_answers import equal_value, last_boxed
from manycall.evals.scoring.math_equality import equal_expressions, verify_response
from manycall.evals.scoring.minerva_answers import equal_minerva, final_answer, normalize_answer
from manycall.evals.scoring.text_answers import UNPARSED, after_thinking
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.hub_files import HubFile
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Filter, Task
from manycall.records import Fields, Messages

FILE = HubFile(
    "HuggingFaceH4/MATH-500",
    "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
    "test.jsonl",
    sha256="35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
    modelscope="AI-ModelScope/MATH-500",
)
BOXED = "{{ question }}\nPlease reason step by step, and put your final answer within \\boxed{}."
MINERVA = "Problem:\n{{ question }}\n\nSolution:"


def convert(fields: Fields, file: str) -> Fields:
    """Return the row of a published problem. Without the field `answer`, it is the box of the solution."""
    box = hendrycks_box(fields["solution"])
    if not isinstance(fields["problem"], str) or box is None:
        raise ValueError("the problem is not a text, or the solution has no box")
    row = {"question": fields["problem"], "answer": fields.get("answer", box), "solution": fields["solution"]}
    return row | {name: fields[name] for name in ("subject", "level") if name in fields}


def grade_minerva(response: str, fields: Fields) -> tuple[str, float]:
    """Return the final answer and whether it equals that of the solution."""
    answer = final_answer(response)
    return answer, equal_minerva(answer, normalize_answer(hendrycks_box(fields["solution"]) or ""))


def grade_whole(response: str, fields: Fields) -> tuple[str, float]:
    """Return what math-verify reads in the whole response, and whether it equals what it reads in the solution."""
    return verify_response(response, fields["solution"])


def equal_mathematics(answer: str, target: str) -> float:
    """Return 1.0 if two expressions are equal: as texts in LaTeX, as numbers, or by math-verify."""
    if answer == UNPARSED:
        return 0.0
    try:
        is_same = normalize_latex(answer) == normalize_latex(target)
    except ValueError:
        is_same = answer == target
    return 1.0 if is_same or equal_value(answer, target) else equal_expressions(answer, target)


def boxed_answer(response: str) -> str:
    """Return the last box after the thinking text."""
    return last_boxed(after_thinking(response))


def grade_answer(response: str, fields: Fields) -> tuple[str, float]:
    """Return what math-verify reads after the thinking text, and whether it equals the answer."""
    return verify_response(after_thinking(response), f"${fields['answer']}$")


def planted(fields: Fields) -> tuple[str, str]:
    """Return a right and a wrong response, each of which all filters read."""
    text = "We count the cases.\nFinal Answer: The final answer is $\\boxed{{{}}}$. I hope it is correct."
    wrong = re.sub(r"\d+", lambda digits: str(int(digits[0]) + 1), fields["answer"], count=1)
    return text.format(fields["answer"]), text.format(wrong)


def minerva_shots() -> Messages:
    """Return the four solved examples of Lewkowycz et al. (2022), appendix D, from the training set of MATH."""
    lines = (Path(__file__).parent / "exemplars" / "minerva_math.jsonl").read_bytes().splitlines()
    return [
        {"role": role, "content": text}
        for shot in map(msgspec.json.decode, lines)
        for role, text in (
            ("user", MINERVA.replace("{{ question }}", shot["problem"])),
            ("assistant", shot["solution"]),
        )
    ]


DATA = PublishedData((FILE,), convert, "math500.jsonl", extra="math")
MINERVA_TASK = Task(
    rows=(),
    prompt=MINERVA,
    extract={"exact_match": Filter(grade_minerva), "math_verify": Filter(grade_whole)},
    scorer=equal_minerva,
    name="minerva_math500",
    fewshot=minerva_shots(),
    params={"max_tokens": 256, "temperature": 0.0, "stop": ["Problem:"], "seed": 1234},
    body_format="lm-eval",
    planted=planted,
    loader=DATA,
)
TASK = Task(
    rows=(),
    prompt=BOXED,
    extract={"boxed": boxed_answer, "math_verify": Filter(grade_answer)},
    scorer=equal_mathematics,
    name="math500",
    params={"max_tokens": 32_768, "temperature": 0.6, "top_p": 0.95},
    planted=planted,
    loader=DATA,
)
BENCHMARKS = (
    Benchmark(MINERVA_TASK, 500, LM_EVAL, FILE.repo, "math", metric="", version=3.1),
    Benchmark(TASK, 500, "manycall", FILE.repo, "math", metric=""),
)
