"""What every task is: a value."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from manycall.data.sources import Rows
from manycall.data.templates import Prompt, Template
from manycall.errors import UsageError
from manycall.records import Message, Messages, Row, Spelling, as_text

Extract = Callable[[str], Any]
"""A response -> the answer in it."""


class Task(msgspec.Struct, frozen=True):
    """A benchmark: what to ask, how to read the answers, and whether they are right.

    >>> task = manycall.Task(
    ...     rows=[{"question": "Is 3 odd?", "answer": "yes"}],
    ...     prompt="{{ question }}",
    ...     extract=lambda text: text.strip().lower(),
    ...     score=lambda answer, target: answer == target,
    ... )
    >>> manycall.evaluate(task, url="sim", model="any", out="odd.jsonl", progress=False).rows
    1

    Attributes:
        rows: the questions: a path or mappings.
        prompt: the user's turn: a Jinja template over a row's fields, its path, or a function of them.
        extract: how the answer is read out of a response; or several ways, by name, each of which gives a score.
        score: (what was read, target) -> 1.0 or 0.0, or anything between.
        target: the field that holds the right answer; `score` gets it as text, spelled as in JSON (true, 0.5), unless
            it is a list, an object or null (None).
        name: what it is called in the report.
        system: a template for a system message. shots: turns that go between it and the question: always the same,
            or those for the row of this index.
        params: what every call is sent with. spelling: how it is written (`Request`).
        samples: how often each question is asked, if nobody says; None: once.
        votes: name -> k: a further score, of the answer that the most of a row's first k samples gave.
        quick: `extract` and `score` take microseconds; others run in a thread, so that no call waits for them.
        origin: FILE.py:task (the command sets it) or regex:PATTERN, from which a separate process can load the task.
            Answers are graded in that process, so that a scorer that hangs can be killed. "": graded in this process.
        scoring_timeout: seconds that the process may take for one answer; after that the row has failed.
        identity: whatever makes two runs of this task incomparable, besides its name, prompt and parameters.
        key: what the simulated endpoint's `--key` takes to know the answers.
        load: gives it its rows and shots, from local files if they are given.
    """

    rows: Rows
    prompt: Prompt
    extract: Extract | Mapping[str, Extract]
    score: Callable[[Any, Any], float]
    target: str = "answer"
    name: str = "task"
    system: str | None = None
    shots: Sequence[Message] | Callable[[int], Messages] = ()
    params: dict[str, Any] = {}
    spelling: Spelling = "compact"
    samples: int | None = None
    votes: Mapping[str, int] = {}
    quick: bool = False
    origin: str = ""
    scoring_timeout: float = 10.0
    identity: dict[str, Any] = {}
    key: str = ""
    load: "Load | None" = None

    @property
    def filters(self) -> Mapping[str, Extract]:
        """Name -> how an answer is read."""
        return {"score": self.extract} if callable(self.extract) else self.extract

    def grade(self, response: str, target: Any) -> dict[str, tuple[Any, float]]:
        """Filter -> (what was read, score) of one response."""
        read = {name: extract(response) for name, extract in self.filters.items()}
        return {name: (answer, self.compare(answer, target)) for name, answer in read.items()}

    def compare(self, answer: Any, target: Any) -> float:
        """The score of what was read.

        Raises:
            ValueError: it is no number from 0 to 1.
        """
        found = self.score(answer, target if isinstance(target, list | dict | None) else as_text(target))
        try:
            value = float(found)
        except (TypeError, ValueError):
            value = math.nan
        if not 0 <= value <= 1:
            raise ValueError(f"a score must be a number from 0 to 1; `score` returned {found!r:.100}")
        return value


class Load(Protocol):
    """Gives a task its rows and shots, from local files if they are given."""

    def __call__(self, task: Task, data: str | Path | None = None, shots: str | Path | None = None) -> Task: ...


class Asker:
    """Makes the messages of a row: the system message, the shots, the question.

    Attributes:
        identity: what tells one task's questions from another's.

    Raises:
        UsageError: shots that are no messages.
        BadPrompt: a template that is none.
    """

    def __init__(self, task: Task) -> None:
        self._turn = Template(task.prompt)
        self._system = None if task.system is None else Template(task.system)
        shots = task.shots if callable(task.shots) else _messages(task.shots)
        self._shots = shots if callable(shots) else lambda index: list(shots)
        about = {
            "prompt": self._turn.source,
            "system": self._system and self._system.text,
            "shots": getattr(shots, "__qualname__", "function") if callable(shots) else list(shots),
        }
        self.identity = {name: value for name, value in about.items() if value} | task.identity

    def messages(self, row: Row) -> Messages:
        """What is sent for this row.

        Raises:
            BadPrompt: a template that does not fit, or a function that failed.
        """
        system = [] if self._system is None else self._system.messages(row)
        return [*({**turn, "role": "system"} for turn in system), *self._shots(row.index), *self._turn.messages(row)]


def _messages(shots: Sequence[Message]) -> Sequence[Message]:
    for shot in shots:
        if not isinstance(shot, Mapping) or not {"role", "content"} <= shot.keys():
            raise UsageError(f"a shot is a message with role and content, not {shot!r:.100}")
    return shots
