"""Responses as models give them, and as none would; the same for the same seed, on every machine."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REASONING = (
    "Let us take it step by step. She eats 3 eggs and bakes with 4, so 16 - 3 - 4 = 9 are left.\n",
    "First, 2/2 = <<2/2=1>>1 bolt.\nThen 2 + 1 = <<2+1=3>>3 bolts.\n",
    "Step 1: $80,000 + $50,000 = $130,000.\n\nStep 2: 150% of that is $200,000.00.\n\n",
    "我们一步一步来算:3 × 4 = 12。\n",
    "",
)
ENDINGS = (
    "#### {n}", "#### ${n}", "####{n}", "#### {n}.", "#### {n}\n\nQuestion: And then? #### 7", "The answer is {n}.",
    "The answer is {n}", "The answer is ${n}.", "The answer is **{n}**.", "the answer is {n}.",
    "The answer is {n} eggs.",
    "The answer is {n}.\n\nQ: What else?\nA: The answer is 5.", "The final answer is {n}", "The final answer is ${n}.",
    "The final answer is {n}. No: The final answer is {w}", r"\boxed{{{n}}}", "So it is {n}.", "{n}", "{n}.00", "$ {n}",
    "{n} ,,", "{n}...", "so {n}. Area is m^2", "I cannot say.", "The answer is -{n}.", "#### -{n}", "The answer is .",
    "The answer is {n},", "The answer is {n}\n", "The answer is {n}。", "**Answer:** {n}", "A", "B. because", "(C)",
    " d ", "The answer is B", "Answer: (C)", "c.", "D\nbecause {n}", "\nA",
)  # fmt: skip
HABITS = ("The answer is {n}.", "So she has {n}. The answer is {n}.", "#### {n}", "The final answer is {n}", "{n}")
CHARACTERS = "0123456789.,$-#*\\ \n\t:!'\"()[]{}ABCDabcdQ\0\x1c\u0130\u00a0\u2028\u0663\uff15\u2460€°é中"
WORDS = (
    "#### ",
    "The answer is ",
    "The final answer is ",
    "Question:",
    "Q:",
    "</s>",
    "the ",
    "[invalid]",
    "18",
    "1,200",
)


def number(rng: random.Random, right: str) -> str:
    """The right number, or another, in one of the ways in which it is written."""
    bare = right.replace(",", "")
    n = bare if rng.random() < 0.6 or not bare.lstrip("-").isdecimal() else str(int(bare) + rng.randint(-3, 3))
    return rng.choice((n, n, n, f"{int(n):,}" if n.lstrip("-").isdecimal() else n, f"0{n}", f"{n}.0", f"{n}%"))


def response(rng: random.Random, right: str, habit: str = "{n}") -> str:
    """What a model may say to a question with this answer, often by its habit; never empty."""
    said = number(rng, right)
    ending = habit if rng.random() < 0.7 else rng.choice(ENDINGS)
    reasoning = "" if right in tuple("ABCD") else rng.choice(REASONING)  # a letter has to come first
    text = reasoning + ending.format(n=said, w=number(rng, right))
    return text[: rng.randint(1, len(text))] if rng.random() < 0.05 else text


def nonsense(rng: random.Random) -> str:
    """What none would say: pieces of what the patterns look for, and characters that are trouble."""
    pieces = (rng.choice((*WORDS, *(rng.choice(CHARACTERS) for _ in range(12)))) for _ in range(rng.randint(0, 24)))
    return "".join(pieces)


def fuzz(count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """So many pairs of a response and a target."""
    rng = random.Random(seed)
    for _ in range(count):
        right = rng.choice((str(rng.randint(-20, 2000)), f"{rng.randint(1000, 10**7):,}", "18", "7.5", "1/2"))
        text = response(rng, right) if rng.random() < 0.5 else nonsense(rng)
        yield {"response": text, "answer": f"It is {right}.\n#### {right}", "letter": rng.choice("ABCD")}


def recorded(answers: list[str], samples: int, seed: int) -> Iterator[list[str]]:
    """The responses to each question, of which those are the answers."""
    for index, answer in enumerate(answers):
        rng = random.Random(f"{seed} {index}")
        right, habit = answer.rpartition("#### ")[2].strip(), rng.choice(HABITS)
        yield [response(rng, right, habit) for _ in range(samples)]


def made_up(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Problems in GSM8K's format, some of them twice."""
    rng = random.Random(seed)
    for _ in range(count):
        a, b = rng.randint(2, 40), rng.randint(2, 60)
        yield {
            "question": f"A box holds {a} rows of {b} pears, at ${b}.50 each. How many pears are in it?",
            "answer": f"There are {a}*{b}=<<{a}*{b}={a * b}>>{a * b:,} pears.\n#### {a * b:,}",
        }


def choices(count: int, seed: int) -> Iterator[list[str]]:
    """Lines in MMLU's format."""
    rng = random.Random(seed)
    for _ in range(count):
        a, b = rng.randint(2, 90), rng.randint(2, 90)
        cells = [str(n) for n in rng.sample([a + b, a + b + 1, a + b - 1, a * b + 100], 4)]
        yield [f' What is {a} + {b}, "in words"?\nThink. ', *cells, "ABCD"[cells.index(str(a + b))]]


def write(path: Path, rows: Any) -> Path:
    """Rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
