"""The tables of benchmarks in docs/evaluate.md, from the registry and from what `make crosscheck` recorded."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from manycall.evals.tasks.benchmark import Benchmark
from manycall.evals.tasks.registry import BENCHMARKS

LANGUAGE = re.compile(r"(mgsm_(?:direct|native_cot|en_cot))_[a-z]{2}")
"""Tasks that differ only in their language share a row."""
COMPARED = Path(__file__).parents[1] / "tests" / "crosscheck" / "compared.json"
NONE = "–"


def cells(benchmark: Benchmark) -> tuple[str, ...]:
    """Return the cells of a benchmark after its name."""
    task, version = benchmark.task, benchmark.version
    protocol = benchmark.authority if version is None else f"{benchmark.authority}, version {version:g}"
    names = ", ".join(f"`{name}`" for name in [*task.filters, *task.votes])
    samples = str(task.samples or 1)
    tokens = f"{task.params['max_tokens']:,}" if "max_tokens" in task.params else NONE
    return f"{benchmark.questions:,}", protocol, names, samples, tokens, benchmark.extra or NONE, benchmark.source


def benchmark_rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table."""
    seen = set()
    for name, benchmark in BENCHMARKS.items():
        family = family_of(name)
        row = (f"`{family}`", *cells(benchmark))
        if row not in seen:
            seen.add(row)
            yield row


def crosscheck_rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of comparisons: each task with each authority, then filters without one."""
    noted = defaultdict(list)
    for each in json.loads(COMPARED.read_text(encoding="utf-8")):
        noted[family_of(each["task"])].append(each)
    for family, benchmark in {family_of(name): each for name, each in BENCHMARKS.items()}.items():
        for row in comparison_cells([*benchmark.task.filters, *benchmark.task.votes], noted[family]):
            yield f"`{family}`", *row


def family_of(name: str) -> str:
    """Return the name of a task, with XX in place of its language."""
    return LANGUAGE.sub(r"\1_XX", name)


def comparison_cells(filters: list[str], comparisons: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of a task or family after its name: filters, authority, responses, deliberate differences.

    The number of responses is the lowest of the family.
    """
    pairs = defaultdict(list)
    for each in comparisons:
        pairs[each["authority"], each["filter"]].append(each)
    rows = defaultdict(list)
    for (authority, name), same in pairs.items():
        different = sum(sum(each.get("deliberate", {}).values()) for each in same)
        rows[authority, min(each["responses"] for each in same), different].append(name)
    for (authority, responses, different), names in rows.items():
        yield _code(names), authority, f"{responses:,}", f"{different:,}"
    if rest := [name for name in filters if name not in {each["filter"] for each in comparisons}]:
        yield _code(rest), NONE, NONE, NONE


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
