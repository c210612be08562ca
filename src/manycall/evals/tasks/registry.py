"""The built-in benchmarks by name.

A new benchmark gets a module in this folder with a tuple `BENCHMARKS`, and an entry in `MODULES`.
"""

from difflib import get_close_matches

from manycall.evals.tasks import (
    aime,
    bbh,
    ceval,
    cmath,
    cmmlu,
    drop,
    gpqa,
    gsm8k,
    ifeval,
    math500,
    mgsm,
    mgsm_simple_evals,
    mmlu,
    mmlu_pro,
    mmlu_redux,
    simpleqa,
    wordmath,
)
from manycall.evals.tasks.benchmark import Benchmark
from manycall.evals.tasks.task import Task

MODULES = (
    gsm8k, mmlu, wordmath, aime, math500, gpqa, mmlu_pro, ifeval, mgsm, mgsm_simple_evals, ceval, cmmlu, cmath,
    mmlu_redux, bbh, simpleqa, drop,
)  # fmt: skip
BENCHMARKS: dict[str, Benchmark] = {each.task.name: each for module in MODULES for each in module.BENCHMARKS}
"""Built-in benchmarks by the name of their task."""
TASKS: dict[str, Task] = {name: each.task for name, each in BENCHMARKS.items()}
"""Built-in tasks by name. They have no rows until their `loader` adds them."""


def similar_names(name: str) -> list[str]:
    """Return at most three names of built-in tasks that begin with `name`, or are spelled almost like it."""
    lower = name.lower()
    beginning = [task for task in TASKS if lower and task.startswith(lower)]
    return list(dict.fromkeys([*beginning, *get_close_matches(lower, TASKS, n=3)]))[:3]
