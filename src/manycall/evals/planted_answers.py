"""The answer key with which the simulated endpoint answers the questions of a task.

It is a file of rows with `prompt`, `right` and `wrong`: the last message of a request, and a right and a wrong response
to it. `accuracy` of the endpoint decides how many of the prompts get the right response.
"""

from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice

import msgspec

from manycall.evals.tasks.sample_fields import SampleFields
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Fields, Row
from manycall.run.options import RunOptions
from manycall.sim.process import is_sim
from manycall.store.atomic_write import replace_file
from manycall.store.paths import cache_folder


def uses_sim(options: RunOptions) -> bool:
    """Return whether all calls go to simulated endpoints that this command starts."""
    given = options.base_url
    urls = [given] if isinstance(given, str) else list(given or ())
    return bool(urls) and all(map(is_sim, urls))


def write_answer_key(task: Task, limit: int | None, samples: int | None) -> str:
    """Write the answer key of a task into the cache and return its path; "" if the task has none.

    Args:
        limit: only for the first `limit` rows.
        samples: number of samples of each row; None: one, whose id has no number.
    """
    if task.planted is None or not isinstance(task.rows, list):
        return ""
    lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in _entries(task, limit, samples))
    path = cache_folder() / "answer_keys" / f"{blake2b(lines, digest_size=8).hexdigest()}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, [lines])
    return str(path)


def _entries(task: Task, limit: int | None, samples: int | None) -> Iterable[Fields]:
    assert task.planted is not None
    assert isinstance(task.rows, list)
    rows: list[Fields] = task.rows
    prompt = TaskPrompt(task)
    vary = SampleFields(task.vary, has_numbers=True) if task.vary is not None else None
    for index, fields in enumerate(islice(rows, limit)):
        for number in range((samples or 1) if vary is not None else 1):
            shown = fields if vary is None else vary.sample(f"#{number}", fields)
            right, wrong = task.planted(shown)
            question = prompt.messages(Row("", shown, index, number))[-1]["content"]
            yield {"prompt": question, "right": right, "wrong": wrong}
