"""What to ask, one file a benchmark. A task is a value: rows, a prompt, and how to read the answers."""

from manycall.evals.tasks import gsm8k, wordmath
from manycall.evals.tasks.task import Load, Scoring, Task

TASKS: dict[str, Load] = {
    "gsm8k": gsm8k.five_shot,
    "gsm8k_cot_zeroshot": gsm8k.zero_shot,
    "wordmath": wordmath.load,
}
"""Name -> what makes the task, given `--data` and `--shots`."""

SCORINGS: dict[str, Scoring] = {
    "gsm8k": gsm8k.FIVE_SHOT,
    "gsm8k_cot_zeroshot": gsm8k.ZERO_SHOT,
    "wordmath": wordmath.SCORING,
}
"""Name -> how its responses are scored; needs no data."""

__all__ = ["SCORINGS", "TASKS", "Load", "Scoring", "Task"]
