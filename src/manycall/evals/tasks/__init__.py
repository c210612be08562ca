"""Benchmarks, one module each. A task is a value: rows, a prompt, extractors and a scorer."""

from manycall.evals.tasks import gsm8k, mmlu, wordmath
from manycall.evals.tasks.task import Extractor, Task, TaskLoader, TaskPrompt

TASKS: dict[str, Task] = {**gsm8k.ALL, mmlu.TASK.name: mmlu.TASK, wordmath.TASK.name: wordmath.TASK}
"""Built-in tasks by name. They have no rows until their `loader` adds them."""

__all__ = ["TASKS", "Extractor", "Task", "TaskLoader", "TaskPrompt"]
