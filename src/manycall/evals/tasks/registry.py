"""The built-in benchmarks by name. A new one gets a module in this folder and an entry in `TASKS`."""

from manycall.evals.tasks import gsm8k, mmlu, wordmath
from manycall.evals.tasks.task import Task

TASKS: dict[str, Task] = {**gsm8k.ALL, mmlu.TASK.name: mmlu.TASK, wordmath.TASK.name: wordmath.TASK}
"""Built-in tasks by name. They have no rows until their `loader` adds them."""
