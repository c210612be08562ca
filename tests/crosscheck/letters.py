"""Made-up multiple-choice questions, and responses to them as models give them, and as none would."""

import random
from collections.abc import Iterator
from typing import Any

LETTERS = "ABCDEFGHIJ"
THOUGHTS = (
    "", "Let's think step by step. ", "Option A is wrong, because (C) contradicts it.\n", "We rule out (A) and D.\n\n",
    "<think>\nThe answer is (C)? Answer: A. No.\n</think>\n", "<think>\nHmm, answer: ",
    "先看题目:A 项不对。因此排除 B。\n",
    "I think that Answer: D is tempting.\n", "ANSWER: [LETTER]\n", "答案: $选项\n", "答案是:",
    "As an AI, I cannot know. ",
)  # fmt: skip
ENDINGS = (
    "The answer is ({x}).", "The answer is ({x})", "The answer is {x}", "The answer is {x}.", "the answer is ({x}).",
    "So the answer is **({x})**.", "The correct answer is: ({x}).", "Answer: {x}", "answer : {x}", "**Answer:** {x}",
    "Answer: **{x}**", "Answer: ${x}$", "Answer:\t$\\boxed{{x}}$", "Answer:\n{x}", "answer: {l}", "ANSWER: {x}",
    "ANSWER: ({x})", "({x})", "({l})", "[{x}]", "{x}", "{x}.", "{l}", r"\boxed{{x}}", r"\boxed{\text{({x})}}",
    "{x}) {t}", "{t}", "{t}.", "It is: {x}", "It is:   {x}, not {y}", "({x}) or ({y})", "Answer: {x}\nAnswer: {y}",
    "The answer is ({x}). Wait. The answer is ({y}).", "The answer is not ({x}).", "答案：{x}", "答案: {x}",
    "答案:{x}",
    "答案: **{x}**", "答案: ${x}", "答案: （{x}）", "答案 : 「{x}」", "答案是{x}。", "故选{x}。", "答案: {l}",
    "**答案: {x}**",
    "答案:\n\n{x}", "Ｂ", "（{x}）", "正确选项为{x}", "{x}、{y}", "None of these.", "", " ", "\n", "I cannot say.",
    "Неверно.",
    "É {x}", "1", "Answer: E", "The answer is (K).", "answer is ({l})", "Answer: {x}Answer: {y}",
    "Answer:{x}nswer: {y}",
)  # fmt: skip
PIECES = (
    *ENDINGS, "answer is ", "Answer:", "nswer:", "答案", ":", "：", "(", ")", "$", "**", " ", "\n", "\t", "A", "B", "C",
    "D", "J", "a", "_A_", "\0", "\u00a0", "\u2028", "\x1c", "İ", "ſ", "“", "—", ".", ",", "The answer is ", "{t}",
)  # fmt: skip
TEXTS = (
    "Guilty", "Guilty of Romance", "10 m/s", "10", "1.0", "x^2 (mod 5)", "(a) and (b)", "- 5", "?", "...", "A", "B.",
    "none",
    "All of the  above", "The [title] wave", "$E=mc^2$", "Δ-iron", "é", "[title]", " a ", "β (C)", "yes", "Yes!",
    "二氧化碳",
)  # fmt: skip


def question(rng: random.Random, count: int) -> dict[str, Any]:
    """Return a question with `count` choices and the position of the right one. Some choices are equal, or odd."""
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    sums = [str(n) for n in rng.sample(range(a + b - 12, a + b + 12), count)]
    choices = [rng.choice(TEXTS) if rng.random() < 0.4 else text for text in sums]
    text = rng.choice(
        ("What is {} + {}?", " Add {} to {}.  \nThink. ", "{} 加 {} 等于多少?", 'Is "{}" or {{x}} {} it?')
    )
    return {"question": text.format(a, b), "choices": choices, "right": rng.randrange(count)}


def response(rng: random.Random, choices: list[str], right: int) -> str:
    """Return what a model may say, often right."""
    at = right if rng.random() < 0.55 else rng.randrange(len(choices))
    filled = _fill(rng, rng.choice(ENDINGS), choices, at)
    text = rng.choice(THOUGHTS) + filled if rng.random() < 0.6 else filled
    return text[: rng.randint(1, len(text))] if text and rng.random() < 0.05 else text


def nonsense(rng: random.Random, choices: list[str]) -> str:
    """Return what none would say."""
    pieces = (rng.choice(PIECES) for _ in range(rng.randint(0, 12)))
    return "".join(_fill(rng, piece, choices, rng.randrange(len(choices))) for piece in pieces)


def _fill(rng: random.Random, form: str, choices: list[str], at: int) -> str:
    letter, other = LETTERS[at], LETTERS[rng.randrange(len(choices))]
    changed = rng.choice((str.lower, str.upper, str.strip, str))(choices[at])
    return form.replace("{x}", letter).replace("{y}", other).replace("{l}", letter.lower()).replace("{t}", changed)


def fuzz(count: int, seed: int, most_choices: int = 4) -> Iterator[dict[str, Any]]:
    """Yield `count` rows with question, choices, right and response."""
    rng = random.Random(seed)
    for _ in range(count):
        row = question(rng, rng.randint(3, most_choices) if most_choices > 4 else 4)
        make = nonsense if rng.random() < 0.4 else lambda rng, choices, row=row: response(rng, choices, row["right"])
        yield {**row, "response": make(rng, row["choices"])}
