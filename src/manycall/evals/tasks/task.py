"""What every task is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from manycall.data.sources import Rows
from manycall.records import Messages, Row

Extract = Callable[[str], str]
"""A response -> the answer in it."""


class Scoring(msgspec.Struct, frozen=True):
    """How answers are read and compared. It needs no data, so it can be done again at any time.

    Attributes:
        filters: name -> how the answer is read out of a response. Each gives a score of its own.
        match: (what was read, target) -> 1.0 or 0.0.
        target: the field that holds the right answer.
    """

    filters: Mapping[str, Extract]
    match: Callable[[str, str], float]
    target: str = "answer"

    def score(self, response: str, target: str) -> dict[str, tuple[str, float]]:
        """Filter -> (what was read, score)."""
        read = {name: extract(response) for name, extract in self.filters.items()}
        return {name: (answer, self.match(answer, target)) for name, answer in read.items()}


class Task(msgspec.Struct, frozen=True):
    """A benchmark.

    Attributes:
        rows: the questions: a path or mappings.
        prompt: the messages for one of them.
        params: what every call is sent with.
        identity: whatever makes two runs of this task incomparable, besides its name and the parameters.
        key: what the simulated endpoint's `--key` takes to know the answers.
    """

    name: str
    rows: Rows
    prompt: Callable[[Row], Messages]
    scoring: Scoring
    params: dict[str, Any] = {}
    identity: dict[str, Any] = {}
    key: str = ""


class Load(Protocol):
    """Makes a task, from local files if they are given."""

    def __call__(self, data: str | Path | None = None, shots: str | Path | None = None) -> Task: ...
