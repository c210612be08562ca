"""The table of benchmarks in docs/evaluate.md, from the registry."""

import re
from collections.abc import Iterator

from manycall.evals.tasks.benchmark import Benchmark
from manycall.evals.tasks.registry import BENCHMARKS

LANGUAGE = re.compile(r"(mgsm_(?:direct|native_cot|en_cot))_[a-z]{2}")
"""Tasks that differ only in their language share a row."""


def cells(benchmark: Benchmark) -> tuple[str, ...]:
    """Return the cells of a benchmark after its name."""
    task, version = benchmark.task, benchmark.version
    protocol = benchmark.authority if version is None else f"{benchmark.authority}, version {version:g}"
    names = ", ".join(f"`{name}`" for name in [*task.filters, *task.votes])
    samples = str(task.samples or 1)
    tokens = f"{task.params['max_tokens']:,}" if "max_tokens" in task.params else "–"
    return f"{benchmark.questions:,}", protocol, names, samples, tokens, benchmark.extra or "–", benchmark.source


def benchmark_rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table."""
    seen = set()
    for name, benchmark in BENCHMARKS.items():
        family = LANGUAGE.sub(r"\1_XX", name)
        row = (f"`{family}`", *cells(benchmark))
        if row not in seen:
            seen.add(row)
            yield row
