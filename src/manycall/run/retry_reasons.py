"""Announce why calls are sent again: the first error of each kind."""

from collections.abc import Mapping


class RetryReasons:
    """The reasons of one session. Without them, a run whose calls are all retried would only show a rising number.

    Args:
        errors: the first error of each kind that led to a retry; read once a second.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        self._errors = errors
        self._count = 0

    def new_sentences(self) -> list[str]:
        """Return a sentence for each kind of error since the last call."""
        if len(self._errors) == self._count:
            return []
        new = list(self._errors.values())[self._count :]
        self._count = len(self._errors)
        return [f"Retrying: {error}" for error in new]
