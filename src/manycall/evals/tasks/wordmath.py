"""wordmath: 1,200 arithmetic word problems that this file composes from a seed.

For a machine without a network, and for a check that a whole setup works: small numbers, two to four steps, one
whole number as the answer. Any model of 2024 solves nearly all; it is no measure of a model's worth.
"""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from manycall.errors import UsageError
from manycall.evals.scorers import exact_match, extract
from manycall.evals.tasks.task import Task

COUNT = 1200
SEED = 20_26


def load(task: Task, data: str | Path | None = None, shots: str | Path | None = None) -> Task:
    """The task. It is built in, so it takes no files."""
    if data is not None or shots is not None:
        raise UsageError("wordmath is built in: it takes neither --data nor --shots")
    return replace(task, rows=problems())


TASK = Task(
    rows=(),
    prompt="Question: {{ question }}\n\nReason step by step. End with one line of this form: The answer is N.",
    extract={
        "strict-match": partial(extract, pattern=r"The answer is \$?(-?[0-9][0-9,]*)"),
        "last-number": partial(extract, pattern=r"-?[0-9][0-9,]*", which=-1),
    },
    score=exact_match,
    name="wordmath",
    params={"temperature": 0.0, "max_tokens": 1024},
    quick=True,
    identity={"seed": SEED, "count": COUNT},
    key="wordmath",
    load=load,
)


def problems(count: int = COUNT, seed: int = SEED) -> list[dict[str, str]]:
    """So many different problems, each with `id`, `question`, `answer`; the same for the same seed."""
    rng = random.Random(seed)
    rows: list[dict[str, str]] = []
    asked = set()
    while len(rows) < count:
        question, answer = rng.choice(STORIES)(rng)
        if question not in asked:
            asked.add(question)
            rows.append({"id": f"wordmath-{len(rows)}", "question": question, "answer": str(answer)})
    return rows


NAMES = [
    "Ana",
    "Ben",
    "Chen",
    "Dana",
    "Emeka",
    "Farid",
    "Gita",
    "Hugo",
    "Ines",
    "Jun",
    "Kofi",
    "Lena",
    "Mei",
    "Noor",
    "Omar",
    "Pia",
    "Quinn",
    "Rosa",
    "Sami",
    "Tara",
]
THINGS = ["apples", "stickers", "marbles", "pencils", "shells", "buttons", "postcards", "walnuts", "coins", "beads"]


def _trip(rng: random.Random) -> tuple[str, int]:
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    start, days, gain, lost = rng.randint(12, 90), rng.randint(3, 9), rng.randint(2, 15), rng.randint(1, 11)
    text = (
        f"{name} has {start} {thing}. Each day for {days} days {name} finds {gain} more, and then gives {lost} away. "
        f"How many {thing} does {name} have now?"
    )
    return text, start + days * gain - lost


def _shop(rng: random.Random) -> tuple[str, int]:
    name = rng.choice(NAMES)
    pens, pen, books, book = rng.randint(2, 12), rng.randint(1, 6), rng.randint(1, 7), rng.randint(5, 24)
    paid = -(-(pens * pen + books * book) // 50) * 50
    text = (
        f"{name} buys {pens} pens at ${pen} each and {books} books at ${book} each, and pays with ${paid}. "
        f"How much change does {name} get, in dollars?"
    )
    return text, paid - pens * pen - books * book


def _boxes(rng: random.Random) -> tuple[str, int]:
    thing = rng.choice(THINGS)
    boxes, rows, columns, broken = rng.randint(3, 20), rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 12)
    text = (
        f"A truck carries {boxes} boxes. Each box holds {rows} rows of {columns} {thing}. On the way {broken} {thing} "
        f"are lost. How many {thing} arrive?"
    )
    return text, boxes * rows * columns - broken


def _ages(rng: random.Random) -> tuple[str, int]:
    young, old, oldest = rng.sample(NAMES, 3)
    age, times, more, years = rng.randint(3, 15), rng.randint(2, 4), rng.randint(1, 9), rng.randint(2, 12)
    text = (
        f"{young} is {age} years old. {old} is {times} times as old as {young}, and {oldest} is {more} years "
        f"older than {old}. How old will {oldest} be in {years} years?"
    )
    return text, age * times + more + years


def _share(rng: random.Random) -> tuple[str, int]:
    first, second = rng.sample(NAMES, 2)
    thing, children, each, rest = rng.choice(THINGS), rng.randint(3, 12), rng.randint(2, 15), rng.randint(0, 2)
    mine = rng.randint(5, 60)
    theirs = children * each + rest
    text = (
        f"{first} has {mine} {thing} and {second} has {theirs}. {second} shares these equally among {children} "
        f"children, as far as that goes, and gives what is left over to {first}. How many {thing} has {first} then?"
    )
    return text, mine + rest


def _work(rng: random.Random) -> tuple[str, int]:
    name = rng.choice(NAMES)
    hours, wage, days, extra, price = (
        rng.randint(3, 9), rng.randint(8, 30), rng.randint(2, 6), rng.randint(5, 40), rng.randint(20, 99),
    )  # fmt: skip
    text = (
        f"{name} works {hours} hours a day for ${wage} an hour. After {days} days {name} also gets ${extra} extra and "
        f"buys shoes for ${price}. How many dollars has {name} left?"
    )
    return text, hours * wage * days + extra - price


STORIES: list[Callable[[random.Random], tuple[str, int]]] = [_trip, _shop, _boxes, _ages, _share, _work]
