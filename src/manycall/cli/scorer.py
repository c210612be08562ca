"""The process that grades with a user's scorer: `python -m manycall.cli.scorer ORIGIN SECONDS`.

evals/scoring/scorer_process.py starts it. It reads a line [response, fields of the row] and writes a line with
the grades or the error, until its standard input is closed.
"""

import os
import signal
import sys
from typing import BinaryIO

import msgspec

from manycall.cli.user_code import load_task
from manycall.evals.scoring.extraction import EXTRACT_PREFIX, extraction_task
from manycall.evals.scoring.math_equality import MATH_PREFIX
from manycall.evals.scoring.scorer_process import ScorerReply
from manycall.evals.tasks.custom import scorer_task
from manycall.evals.tasks.task import Task
from manycall.records import Fields
from manycall.run.outcome import located

ORPHAN_FACTOR = 4
"""The process ends itself after ORPHAN_FACTOR timeouts of CPU time on one answer: its parent must have been killed."""


def main() -> None:
    """Grade one answer after the other."""
    requests, replies = _own_pipes()
    origin, timeout = sys.argv[1:]
    try:
        task = _load(origin)
    except Exception as error:  # the user's own code, or an incomplete installation
        write(replies, ScorerReply(error=located(error)))
        return
    write(replies, ScorerReply())
    for line in requests:
        signal.setitimer(signal.ITIMER_PROF, ORPHAN_FACTOR * float(timeout))
        response, fields = msgspec.json.decode(line)
        write(replies, _graded(task, response, fields))
        signal.setitimer(signal.ITIMER_PROF, 0)


def _load(origin: str) -> Task:
    if origin.startswith(EXTRACT_PREFIX):
        return extraction_task(origin.removeprefix(EXTRACT_PREFIX))
    if origin == MATH_PREFIX:
        from manycall.evals.scoring.math_worker import worker_task

        return worker_task()
    found = load_task(origin)
    return found if isinstance(found, Task) else scorer_task(origin)


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take standard input and output for the requests; what the user's code prints goes to standard error."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _graded(task: Task, response: str, fields: Fields) -> ScorerReply:
    try:
        reply = ScorerReply(task.score_response(response, fields))
        msgspec.json.encode(reply)
    except Exception as error:  # the user's own code
        return ScorerReply(error=located(error))
    return reply


def write(replies: BinaryIO, reply: ScorerReply) -> None:
    """Write one line, whole."""
    line = msgspec.json.encode(reply) + b"\n"
    while line:
        line = line[replies.write(line) :]


if __name__ == "__main__":
    main()
