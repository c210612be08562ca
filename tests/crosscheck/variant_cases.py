"""The benchmarks that are compared with other authorities than lm-eval, and the responses that both get.

Our own variants read less of a response than the authority whose prompt they use. `given` makes that difference: the
authority gets the part that we read. What is left is equal, apart from the differences that `deliberate` names.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from crosscheck import letters
from crosscheck.task_cases import CASES, Fields, nonsense, with_ending
from manycall.evals.scoring.choice_answers import LAST_LETTER, ONLY_LETTER
from manycall.evals.scoring.latex_answers import equal_latex
from manycall.evals.scoring.math_answers import last_boxed
from manycall.evals.scoring.number_answers import all_numbers
from manycall.evals.scoring.text_answers import UNPARSED, after_thinking
from manycall.evals.tasks.mgsm import LANGUAGES
from manycall.evals.tasks.mgsm_simple_evals import TEXTS

CMATH_ENDINGS = (
    "答案是\\boxed{{{n}}}。", "答：{n}。", "所以答案是{n}个", "答案：{n}", "\\boxed{{{n}元}}", "共{n}千克。",
    "\\boxed{{{n}\\text{{厘米}}}}", "最后将答案放在\\boxed{{}}中：\\boxed{{ {n} }}", "<think>先算{w}，再",
    "<think>{w}</think>答案是 \\boxed{{{n}}}", "{n}", "{n}。", "{w}+1={n}", "**{n}**", "$\\boxed{{{n}}}$", "（{n}）",
    "\\boxed{{{n}", "\\boxed{{\\boxed{{{n}}}}}", "每人{n}元，共{w}元。", "\\boxed{{x={n}}}", "答案为{n}%。",
    "\\boxed{{{w}}}，改为\\boxed{{{n}}}", "2分之{n}", "我不知道。", "\\boxed{{{n} \\text{{ 元}}}}",
    "\\boxed{{￥{n}}}", "\\boxed{{{n}%}}",
)  # fmt: skip
CMATH_PIECES = (
    "\\boxed{", "}", "{", "答案", "：", ":", "。", "，", "=", "元", "千克", "48", "7.5", "1,200", "1，200", "１２",
    "3/4", "\\frac{3}{4}", "4分之3", "25%", "-7", ".5", "1.", "²", "m^2", "6.02 \\times 10^{23}", "$", " ", "\n",
    "<think>", "</think>", "（", "）", "~", "×", "÷",
)  # fmt: skip
MGSM_PIECES = (
    "18", "1,800", "-7", "$5.50", "3.0", "10.", "10.03", "1.2.3", "１２", "٣", "১২", ".", ",", " ", "\n", "**", "：",
    ":", "= ", "%", "é", "\x00", "Answer", "答案", "Jibu", "Ответ", "0", "000", "18.50", "\u00a0", "\x1c",
)  # fmt: skip
MGSM_FORMS = (
    "{p}: {n}", "{p}: {n}", "{p}:{n}", "**{p}:** {n}", "{p}：{n}。", "{n}", "Answer: {n}", "{p}: 3\n{p}: {n}", "{p}",
    "<think>{p}: 5</think>{p}: {n}", "<think>{p}: {n}", "{p}: {n} = 5 + 6", "{p}: \\boxed{{{n}}}",
)  # fmt: skip


class Graded(NamedTuple):
    """A response with the row of the task, what was given to the authority, and what both sides read and scored."""

    row: Fields
    given: str
    read: Any
    score: float
    their_read: Any
    their_score: float | None


class VariantCase(NamedTuple):
    """The comparison of a filter with an authority.

    Attributes:
        task, filter: our names.
        function: name of the function of variant_harness.py that runs the authority.
        authority: its name and version.
        rows: function of (random generator, count) that yields made-up rows in the published form.
        response: function of (random generator, row) that returns a response.
        given: function of a response that returns the part that the authority gets; None: our score must be 0.
        file: name of the file of rows.
        deliberate: what explains a difference -> function that returns whether it does.
    """

    task: str
    filter: str
    function: str
    authority: str
    rows: Callable[[random.Random, int], Iterator[Fields]]
    response: Callable[[random.Random, Fields], str]
    given: Callable[[str], str | None] = str
    deliberate: Mapping[str, Callable[[Graded], bool]] = {}
    file: str = "rows.jsonl"


def only_box(response: str) -> str | None:
    """Return the last box after the thinking text; None if there is none."""
    box = last_boxed(after_thinking(response))
    return None if box == UNPARSED else f"\\boxed{{{box}}}"


def _cmath_rows(rng: random.Random, count: int) -> Iterator[Fields]:
    for n in range(count):
        golden = rng.choice(("48", "7.5", "1200", "0.25", "3", "100", "3.14", "0", "25"))
        yield {"grade": n % 6 + 1, "question": f" 共有{n}个苹果？\n", "golden": golden}


def _cmath_response(rng: random.Random, row: Fields) -> str:
    right = row["golden"]
    kind = rng.random()
    if kind < 0.25:
        return with_ending(rng, right, "9")
    if kind < 0.45:
        return nonsense(rng, CMATH_PIECES)
    zero = f"{right}0" if "." in right else f"{right}.0"
    spelled = rng.choice((right, right, zero, f"{float(right):,}", f" {right}"))
    said, other = (spelled, "9") if rng.random() < 0.7 else ("9", spelled)
    return rng.choice(("", "一步一步算：2+3=5，", "先算 12÷4=3。\n")) + rng.choice(CMATH_ENDINGS).format(
        n=said, w=other
    )


def _mgsm_rows(rng: random.Random, count: int) -> Iterator[Fields]:
    for language in LANGUAGES:
        for n in range(-(-count // len(LANGUAGES))):
            number = rng.choice((7, 18, 1450, 276000, 0, 33, 100))
            answer = rng.choice((str(number), f"{number:,}"))
            yield {"language": language, "question": f"{n} + {{x}} ？", "answer_number": answer}


def _mgsm_response(rng: random.Random, row: Fields) -> str:
    prefix = TEXTS[row["language"]]["prefix"]
    if rng.random() < 0.3:
        return nonsense(rng, (*MGSM_PIECES, prefix, f"{prefix}: "))
    number = int(row["answer_number"].replace(",", "")) + (rng.random() < 0.3)
    spelled = (str(number), f"{number:,}", f"{number}.0", f"{number}.", f"${number}", f"-{number}", f" {number}\n")
    return rng.choice(("", "2 + 2 = 4.\n", "我们算：")) + rng.choice(MGSM_FORMS).format(p=prefix, n=rng.choice(spelled))


def _redux_rows(rng: random.Random, count: int) -> Iterator[Fields]:
    for _ in range(count):
        row = letters.question(rng, 4)
        right = row.pop("right")
        yield {"subject": "anatomy", **row, "answer": right, "error_type": "ok", "correct_answer": None}


def _chinese_rows(question: str, answer: str) -> Callable[[random.Random, int], Iterator[Fields]]:
    def rows(rng: random.Random, count: int) -> Iterator[Fields]:
        for _ in range(count):
            row = letters.question(rng, 4)
            choices = dict(zip("ABCD", row["choices"], strict=True))
            yield {question: row["question"], **choices, answer: "ABCD"[row["right"]]}

    return rows


def _letter_response(rng: random.Random, row: Fields) -> str:
    choices = row["choices"] if "choices" in row else [row[letter] for letter in "ABCD"]
    right = row.get("answer", row.get("Answer"))
    if rng.random() < 0.3:
        return letters.nonsense(rng, choices)
    return letters.response(rng, choices, right if isinstance(right, int) else "ABCD".index(str(right)))


GLUED = re.compile(r"(?i)\wanswer\s*:|(?:answer\s*:|答案\s*[:：])\W*[A-D][A-Z]")
MARKER = re.compile(r"(?i)answer\s*:|答案\s*[:：]")


def _names_several(graded: Graded) -> bool:
    """Return whether a response names several answers: several letters, or one marker of an answer after another."""
    found = (pattern.findall(graded.given) for pattern in (*LAST_LETTER, *ONLY_LETTER))
    named = {*graded.their_read[0], *(str(letter) for letters_of_form in found for letter in letters_of_form)}
    return len(named) > 1 or len(MARKER.findall(graded.given)) > 1


def _is_plain(graded: Graded) -> bool:
    """Return whether the authority reads only digits."""
    return re.fullmatch(r"\d+", str(graded.their_read)) is not None


def _is_left_out(graded: Graded) -> bool:
    return graded.their_score is None


def _is_same_text(graded: Graded) -> bool:
    return graded.score == 1.0 and equal_latex(str(graded.read), str(graded.row["answer"])) == 1.0


def _is_same_number(graded: Graded) -> bool:
    return graded.score == 1.0 and all_numbers(graded.given) == [graded.read]


AIME, MATH = CASES["aime25"], CASES["minerva_math500"]
EVALSCOPE = "evalscope 1.14.1"
VARIANT_CASES = (
    *(
        VariantCase(
            f"aime{year}_avg16", "boxed", "gpt_oss", "openai/gpt-oss", AIME.rows, AIME.response, only_box,
            {"`33.0`, `\\text{33}` and `$33$` are 33": lambda graded: graded.score == 1.0 and not _is_plain(graded)},
        )
        for year in ("24", "25", "26")
    ),
    VariantCase(
        "math500", "boxed", "evalscope", f"{EVALSCOPE}, math_500", MATH.rows, MATH.response, only_box,
        {
            "a right answer that evalscope cannot read (`10\\%`), for which it leaves the row out": _is_left_out,
            "the same text without units, degrees and a name (`N = 5`)": _is_same_text,
        },
    ),
    VariantCase(
        "math500", "math_verify", "math_verify", "math-verify 0.9.0", MATH.rows, MATH.response, after_thinking
    ),
    VariantCase(
        "cmath", "boxed", "evalscope", f"{EVALSCOPE}, cmath", _cmath_rows, _cmath_response, only_box,
        {"the only number in the box (`48元`)": _is_same_number},
    ),
    *(
        VariantCase(
            task, "choice", "evalscope_letters", EVALSCOPE, rows, _letter_response, after_thinking,
            {
                "no answer is named: evalscope takes the last capital letter": lambda graded: graded.their_read[1],
                "several answers are named": _names_several,
                "no space before `Answer:` or after the letter": lambda graded: bool(GLUED.search(graded.given)),
            },
            file,
        )
        for task, rows, file in (
            ("mmlu_redux", _redux_rows, "rows.jsonl"),
            ("ceval", _chinese_rows("question", "answer"), "logic_val.jsonl"),
            ("cmmlu", _chinese_rows("Question", "Answer"), "agronomy.jsonl"),
        )
    ),
    VariantCase("mgsm_simple_evals", "score", "simple_evals", "openai/simple-evals", _mgsm_rows, _mgsm_response),
)  # fmt: skip
