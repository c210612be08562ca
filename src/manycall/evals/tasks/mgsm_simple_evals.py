"""MGSM as openai/simple-evals asks and scores it, which is what model cards quote (see mgsm.py for the data).

All eleven languages, with the means of those in Latin script, of the others, and of all. `max_tokens` and `temperature`
are the defaults of the sampler of simple-evals. As there, the last number after the last word for "answer" counts, and
a minus sign is lost.
"""

import re
from pathlib import Path

import msgspec

from manycall.evals.tasks.benchmark import Benchmark
from manycall.evals.tasks.mgsm import FILES, LANGUAGES, NUMBER, convert, planted_for, read_tsv
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import SubtaskGroup, Task, row_filter
from manycall.records import Fields

LATIN = frozenset({"de", "en", "es", "fr", "sw"})
_LINES = (Path(__file__).parent / "exemplars" / "mgsm_simple_evals.jsonl").read_bytes().splitlines()
TEXTS: dict[str, dict[str, str]] = {each["language"]: each for each in map(msgspec.json.decode, _LINES)}
"""Language -> its `instruction`, and the `prefix` that it asks for before the answer."""


def instructed(fields: Fields) -> str:
    """Return the user message: the instruction in the language of the problem, then the problem."""
    return f"{TEXTS[fields['language']]['instruction']}\n\n{fields['question']}"


def after_prefix(response: str, fields: Fields) -> str:
    """Return the last number after the last word for "answer", without its sign; "" if there is none."""
    _, prefix, text = response.rpartition(TEXTS[fields["language"]]["prefix"])
    numbers = re.findall(r"\d+\.?\d*", text.replace(",", "")) if prefix else []
    return numbers[-1].rstrip(".") if numbers else ""


def equal_integers(answer: str, target: str) -> float:
    """Return 1.0 if the texts are equal, without the zeros at the end of a decimal."""
    return float((answer.rstrip("0").rstrip(".") if "." in answer else answer) == target)


def planted(fields: Fields) -> tuple[str, str]:
    """Return a right and a wrong response in the form that the instruction asks for."""
    return planted_for(f"{TEXTS[fields['language']]['prefix']}: {NUMBER}", fields)


TASK = Task(
    rows=(),
    prompt=instructed,
    extract={"score": row_filter(after_prefix, equal_integers)},
    scorer=equal_integers,
    name="mgsm_simple_evals",
    params={"max_tokens": 1024, "temperature": 0.5},
    subtask="language",
    groups=(
        SubtaskGroup("group_latin", LATIN),
        SubtaskGroup("group_non_latin", frozenset(LANGUAGES) - LATIN),
        SubtaskGroup("all languages"),
    ),
    is_fast=True,
    planted=planted,
    loader=PublishedData(tuple(FILES.values()), convert, "mgsm.jsonl", read_tsv),
)
BENCHMARKS = (Benchmark(TASK, 2750, "openai/simple-evals", "google-research/url-nlp"),)
