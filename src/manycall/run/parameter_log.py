"""Announce and record what the endpoints have taught about parameters during one session."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from manycall.providers.parameter_lesson import ParameterChange, change_sentences

Record = dict[str, Any]


class ParameterLog:
    """The parameter changes of one session.

    Args:
        read: returns all changes known so far; called once a second.
        save: called with new changes, so that the record of a killed session has them, too.
    """

    def __init__(self, read: Callable[[], Sequence[ParameterChange]], save: Callable[[list[Record]], None]) -> None:
        self._read, self._save = read, save
        self._announced: set[str] = set()
        self._count = 0

    def new_sentences(self) -> list[str]:
        """Record the changes since the last call. Return a sentence for each of them, once."""
        changes = self._read()
        if len(changes) == self._count:
            return []
        self._count = len(changes)
        self._save([msgspec.to_builtins(each) for each in changes])
        sentences = [sentence for each in changes for sentence in change_sentences([each])]
        new = [each for each in dict.fromkeys(sentences) if each not in self._announced]
        self._announced.update(new)
        return new
