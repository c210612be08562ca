"""The benchmarks that are compared with lm-eval's own tasks, and the responses that both get."""

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from manycall.evals.tasks import mgsm

Fields = dict[str, Any]


class TaskCase(NamedTuple):
    """A task that is compared.

    Attributes:
        yaml: its file below lm_eval/tasks.
        split: name of the split with the questions.
        rows: function of (random generator, count) that yields made-up rows in the form of the hub.
        response: function of (random generator, row) that returns a response.
        metrics: our filter -> (lm-eval's metric, lm-eval's filter).
        reads: what a filter extracts is compared too. lm-eval extracts nothing in a task with `process_results`.
        file: name of the file of rows without its suffix, if it matters.
        more_splits: further splits that lm-eval loads; they get the same rows.
        part: number of rows that are compared in one run of lm-eval, about a minute.
    """

    yaml: str
    split: str
    rows: Callable[[random.Random, int], Iterator[Fields]]
    response: Callable[[random.Random, Fields], str]
    metrics: dict[str, tuple[str, str]]
    reads: bool = False
    file: str = "test"
    more_splits: tuple[str, ...] = ()
    part: int = 20_000


LATEX_PIECES = (
    "$", "$", "\\boxed{", "\\boxed", "\\boxed ", "\\fbox{", "{", "}", "\\frac", "\\frac12", "\\frac{1}{2}", "\\dfrac34",
    "\\sqrt", "\\sqrt3", "\\sqrt{2}", "\\sqrt[3]{8}", "\\text{ cm}", "\\text{ ", "\\text{m}", "^\\circ", "^{\\circ}",
    "\\left(", "\\right)", "\\%", "%", "\\$", "\\!", "\\\\", " ", " ", "\n", "=", "x=", "n = ", "abc=", ".5", "0.5",
    ".",
    ",", "1/2", "3/4", "-2/3", "a/b", "/", "33", "033", "33.0", "7", "x", "\\pi", "，", "。", "（", "）", "：", "１２",
    "\\mbox{ a}", "an ", "a ", "units", "degrees", "Final Answer: The final answer is ", ". I hope it is correct.",
    "<think>", "</think>", "1,000", "10{,}000", "(1,2)", "[2,5)", "\\infty", "\\cup",
    "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
    "x^2+1", "-3", "\\cdot", "tfrac", "Problem:", "\x00", "٣", "\\textbf{B}", "\\overline{AB}",
)  # fmt: skip
ENDINGS = (
    "\\boxed{{{n}}}", "$\\boxed{{{n}}}$.", "So $x = {n}$, and the answer is $\\boxed{{{n}}}$", "\\boxed{{ {n} }}",
    "{n}",
    "The answer is {n}", "The answer is ${n}$.", "${n}$", "n={n}", "\\boxed{{N = {n}}}", "\\boxed{{{n}^\\circ}}",
    "\\boxed{{\\text{{{n}}}}}", "\\fbox{{{n}}}", "\\boxed {n}$", "\\boxed{{{n}", "\\boxed{{{w}}}, no: \\boxed{{{n}}}",
    "<think>\\boxed{{{w}}}</think> \\boxed{{{n}}}", "<think>it may be \\boxed{{{n}}}, but", "\\boxed{{{n}}}\\boxed",
    "\\boxed{{\\boxed{{{n}}}}}", "\\boxed{{{n}\\text{{ cm}}}}", "答案是\\boxed{{{n}}}。", "答案：{n}。",
    "x is $3$ so $n={n}$",
    "Final Answer: The final answer is ${n}$. I hope it is correct.",
    "Final Answer: The final answer is {n}. I hope it is correct.",
    "Final Answer: The final answer is ${n}$, I hope it is correct.",
    "Final Answer: The final answer is ${w}$. I hope it is correct.\n"
    "Final Answer: The final answer is ${n}$. I hope it is correct.",
    "Final Answer: The final answer is\n${n}$. I hope it is correct.",
    "Final Answer: The final answer is $\\boxed{{{n}}}$. I hope it is correct.",
    "Final Answer: The final answer is {n} units. I hope it is correct.",
    "Final Answer: The final answer is ${n}$.", "I cannot say.",
)  # fmt: skip
REASONING = (
    "",
    "Let $x$ be the number. ",
    "First $2 + 2 = 4$.\n\nThen ",
    "我们一步一步来算：",
    "<think>Let me see",
    "We get $\\frac{1}{2}$. ",
)


def nonsense(rng: random.Random, pieces: tuple[str, ...] = LATEX_PIECES, most: int = 14) -> str:
    """Return pieces of LaTeX and of what readers look for, in any order."""
    return "".join(rng.choice(pieces) for _ in range(rng.randint(1, most)))


def with_ending(rng: random.Random, right: str, wrong: str) -> str:
    """Return a response that ends with an answer, in one of the ways of models, or something hostile."""
    if rng.random() < 0.35:
        return nonsense(rng)
    said, other = (right, wrong) if rng.random() < 0.65 else (wrong, right)
    text = rng.choice(REASONING) + rng.choice(ENDINGS).format(n=said, w=other)
    if rng.random() < 0.1:
        text += nonsense(rng, most=4)
    return text[: rng.randint(1, len(text))] if rng.random() < 0.05 else text


def _spelled(rng: random.Random, number: int) -> str:
    return rng.choice(
        (str(number), str(number), str(number), f"{number:03}", f"{number}.0", f"{number:,}", f" {number}")
    )


def _aime_response(answer: str) -> Callable[[random.Random, Fields], str]:
    def response(rng: random.Random, row: Fields) -> str:
        number = int(row[answer])
        return with_ending(rng, _spelled(rng, number), str(number + rng.choice((-1, 1, 10))))

    return response


def _aime24_rows(rng: random.Random, count: int) -> Iterator[Fields]:
    for n in range(count):
        problem = f"Find ${rng.randint(1, 99)} + {n}$." + rng.choice(("", " ", " Use $\\pi$."))
        yield {"ID": f"2024-I-{n}", "Problem": problem, "Solution": "", "Answer": rng.choice((7, 33, 80, 250, 999, 0))}


def _aime25_rows(rng: random.Random, count: int) -> Iterator[Fields]:
    for n in range(count):
        yield {"problem": f" Find {n}. \n", "answer": rng.choice(("7", "33", "80", "250", "999", "0")), "id": str(n)}


GOLDS = (
    ("7", "8"), ("33", "34"), ("\\frac{1}{2}", "\\frac{1}{3}"), ("5\\sqrt{2}", "5\\sqrt{3}"), ("[2,5)", "(2,5)"),
    ("(4,4)", "(4,5)"), ("1,000", "1,001"), ("1{,}000", "100"), ("120^\\circ", "60^\\circ"), ("x^2+1", "x^2-1"),
    ("\\text{Evelyn}", "\\text{Bob}"), ("-2", "2"), ("\\sqrt[3]{8}", "3"), ("\\frac{\\pi}{4}", "\\pi"), ("0.5", "0.25"),
    ("10\\%", "20\\%"), ("\\$3.50", "3"), ("(x-3)(x+3)", "(x-3)^2"), ("5 \\text{ cm}", "6"), ("2,3", "3"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "1"), ("\\left(3, \\frac{\\pi}{2}\\right)", "3"),
    ("6 \\text{ units}", "7"),
)  # fmt: skip
SAME = {
    "\\frac{1}{2}": ("0.5", "1/2", "\\frac12", "\\dfrac{1}{2}"), "0.5": ("\\frac12", ".5"),
    "1{,}000": ("1000", "1,000"),
    "(x-3)(x+3)": ("x^2-9",), "10\\%": ("10", "0.1"), "[2,5)": ("2\\le x<5",), "x^2+1": ("1+x^2", "x^{2}+1"),
}  # fmt: skip


def _math_rows(rng: random.Random, count: int) -> Iterator[Fields]:
    for n in range(count):
        answer, wrong = rng.choice(GOLDS)
        end = rng.choice((".", "", ".\n", "\\end{align*}"))
        solution = f"We have $a = {n}$, so the answer is $\\boxed{{{answer}}}${end}"
        yield {"problem": f"Find it. {n} ", "solution": solution, "answer": answer, "wrong": wrong}


def _math_response(rng: random.Random, row: Fields) -> str:
    right = row["answer"]
    return with_ending(rng, rng.choice((right, right, *SAME.get(right, ()))), row["wrong"])


MGSM_PIECES = (
    "The answer is ", "Die Antwort lautet ", "答案是 ", "答えは", "です。", "。", "Ответ — ", "Jibu ni ",
    "సమాధానం ",
    "คำตอบคือ ", "La respuesta es ", "La réponse est ", "18", "1,800", "-7", "$5.50", "3.0", "10.03", "１２", "٣", "১২",
    ".",
    ",", " ",
    "\n", "**", "：", "= ", "%", "é", "\x00",
)  # fmt: skip


def _mgsm_rows(rng: random.Random, count: int) -> Iterator[Fields]:
    for n in range(count):
        number = rng.choice((7, 18, 1450, 276000, 0, 33))
        yield {"question": f"{n} + ？ ", "answer": None, "answer_number": number, "equation_solution": None}


def _mgsm_response(strict: str) -> Callable[[random.Random, Fields], str]:
    def response(rng: random.Random, row: Fields) -> str:
        if rng.random() < 0.3:
            return nonsense(rng, MGSM_PIECES)
        number = row["answer_number"] + (rng.random() < 0.3)
        said = rng.choice(
            (str(number), f"{number:,}", f"{number}.0", f"${number}", f"-{number}", f"{number}.", f" {number}\n")
        )
        form = rng.choice(
            (strict, strict, "The answer is {}", "{}", "答案：{}。", "= {} pears", "**{}**", "<think>5</think>{}")
        )
        return rng.choice(REASONING) + form.format(said)

    return response


def _mgsm(kind: str, language: str, strict: str) -> TaskCase:
    first = "remove_whitespace" if kind == "direct" else "strict-match"
    return TaskCase(
        f"mgsm/{kind}/mgsm_{kind}_{language}.yaml", "test", _mgsm_rows, _mgsm_response(strict),
        {name: ("exact_match", name) for name in (first, "flexible-extract")}, reads=True,
        file=f"mgsm_{language}", more_splits=("train",),
    )  # fmt: skip


def _mgsm_cases() -> Iterator[tuple[str, TaskCase]]:
    for language, words in mgsm.LANGUAGES.items():
        strict = words.strict.replace(mgsm.NUMBER, "{}")
        yield f"mgsm_direct_{language}", _mgsm("direct", language, "{}")
        yield f"mgsm_native_cot_{language}", _mgsm("native_cot", language, strict)
        yield f"mgsm_en_cot_{language}", _mgsm("en_cot", language, "The answer is {}.")


CASES: dict[str, TaskCase] = {
    **dict(_mgsm_cases()),
    "minerva_math500": TaskCase(
        "minerva_math/minerva_math500.yaml",
        "test",
        _math_rows,
        _math_response,
        {"exact_match": ("exact_match", "none"), "math_verify": ("math_verify", "none")},
        part=500,
    ),
    "aime24": TaskCase(
        "aime/aime24.yaml", "train", _aime24_rows, _aime_response("Answer"), {"none": ("exact_match", "none")}
    ),
    "aime25": TaskCase(
        "aime/aime25.yaml", "test", _aime25_rows, _aime_response("answer"), {"none": ("exact_match", "none")}
    ),
    "aime26": TaskCase(  # lm-eval has no such task: its aime25 on other rows
        "aime/aime25.yaml", "test", _aime25_rows, _aime_response("answer"), {"none": ("exact_match", "none")}
    ),
}
