"""What to ask, one file a benchmark. A task is a value: rows, a prompt, and how to read the answers."""

from manycall.evals.tasks import gsm8k, mmlu, wordmath
from manycall.evals.tasks.task import Asker, Extract, Load, Task

TASKS: dict[str, Task] = {**gsm8k.ALL, mmlu.TASK.name: mmlu.TASK, wordmath.TASK.name: wordmath.TASK}
"""Name -> the task, which its `load` gives the rows."""

__all__ = ["TASKS", "Asker", "Extract", "Load", "Task"]
