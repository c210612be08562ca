"""Made-up questions in the form of BIG-Bench Hard, and responses to them of every kind that models give."""

import random
from typing import Any

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fifteen eighteen twenty thirty forty "
    "ninety hundred thousand million billion trillion and , & for teen seventy-two eight-een point"
).split()
WORDS = ("oven", "costume", "arson", "it&t", "o'clock", "apple", "app", "be", "bee", "Étude", "zoo", "snow", "snowy")
BRACKETS = ("[", "]", "(", ")", "<", ">", "{", "}", " ", '"', " } ] >", ") )")
CHOICES = (
    "the cat",
    "the cat is black",
    "12/01/2020",
    "Neither",
    "Yes",
    "no. 5",
    "  two  spaces ",
    "re.set",
    "naïve café",
    "x^2",
    "黑色",
    "a (b)",
    "!?",
    "The  end",
    "5",
)
YES_NO = (
    "Yes",
    "No",
    "yes",
    "no",
    "YES",
    "nope",
    "not plausible",
    "Plausible",
    "tells the truth",
    "is not telling the truth",
    "does not tell the truth",
    "is telling the truth",
    "know",
    "implausible",
)
LEADS = (
    "So the answer is {}.",
    "So the answer is {}",
    "The answer is {}.",
    "the answer is {}\nBut wait.",
    "The answer: {}.",
    "{}",
    "The final answer: {} .",
    "Answer: {}",
    "the answer is {}. No: the answer is {}.",
    "**{}**",
    r"\boxed{{{}}}",
    ": {}",
    "答案是 {}。",
    "the answer is",
    "<think>the answer is {}. Wait",
    "",
    "The answer is {},",
    'the answer is "{}".',
    "So, {} it is.",
)
CHARACTERS = "()[]{}<>:., \n\t-0123456789ABCDEabc\"'\\^中\u00a0\0"


def question(rng: random.Random, kind: str) -> tuple[str, str]:
    """A question and its right answer."""
    match kind:
        case "choice":
            texts = rng.sample(CHOICES, rng.randint(2, 6))
            listed = "\n".join(f"({'ABCDEF'[n]}) {text}" for n, text in enumerate(texts))
            return f"Which one is it?\nOptions:\n{listed}", f"({rng.choice('ABCDEF'[: len(texts)])})"
        case "words":
            words = rng.sample(WORDS, rng.randint(2, 6))
            words += rng.sample(words, rng.randint(0, 1))
            return f"Sort the following words alphabetically: List: {' '.join(words)}", " ".join(sorted(words))
        case "number":
            return "I have some chairs and a lamp. How many objects do I have?", str(rng.randint(-5, 30))
        case "brackets":
            return "Complete the sequence: [ { [", "".join(
                rng.choice("]}) >") for _ in range(rng.randint(1, 4))
            ).strip() or "]"
    return "Is it so?", rng.choice(kind.split("/"))


KINDS = {
    "boolean_expressions": "True/False",
    "causal_judgement": "Yes/No",
    "navigate": "Yes/No",
    "formal_fallacies": "valid/invalid",
    "dyck_languages": "brackets",
    "multistep_arithmetic_two": "number",
    "object_counting": "number",
    "sports_understanding": "yes/no",
    "web_of_lies": "Yes/No",
    "word_sorting": "words",
}
"""Kinds of the subtasks; the others have choices."""


def _said(rng: random.Random, row: dict[str, Any], kind: str) -> str:
    """The right answer, another one, or something near it."""
    if rng.random() < 0.35:
        return str(row["target"])
    match kind:
        case "choice":
            return rng.choice(
                (f"({rng.choice('ABCDEFZ')})", rng.choice("ABCabc"), rng.choice(CHOICES), rng.choice(CHOICES).upper())
            )
        case "words":
            return rng.choice((" ", ", ", "\n", "-")).join(rng.choice(WORDS) for _ in range(rng.randint(0, 6)))
        case "number":
            some = rng.choice((" ", " ", "  ", "-", "")).join(rng.choice(NUMBERS) for _ in range(rng.randint(1, 6)))
            return rng.choice((some, some, some.upper(), f"{rng.randint(-9, 3000):,}", "--5", "- 5"))
        case "brackets":
            return "".join(rng.choice(BRACKETS) for _ in range(rng.randint(1, 5)))
    return rng.choice((*YES_NO, *kind.split("/"), *kind.upper().split("/"), "valid?", "Invalid", "True or False"))


def response(rng: random.Random, row: dict[str, Any], kind: str) -> str:
    """A response to a row."""
    if rng.random() < 0.03:
        return rng.choice(("", "\n", " ", "```", "(", "中", "\0"))
    if rng.random() < 0.1:
        return "".join(rng.choice((*CHARACTERS, *WORDS, *YES_NO, "the answer is ")) for _ in range(rng.randint(1, 20)))
    lead = rng.choice(LEADS)
    text = lead.replace("{}", "\0").replace("{{", "{").replace("}}", "}")
    for _ in range(lead.count("{}")):
        text = text.replace("\0", _said(rng, row, kind), 1)
    before = rng.choice(("", "Let us see. ", "First (A), then (B).\n", f"{_said(rng, row, kind)}; ", "让我想想。\n\n"))
    text = before + text
    return text[: rng.randint(0, len(text))] if rng.random() < 0.05 else text
