"""The query of a request. It names ids and words of fixed lists, never a path."""

from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import parse_qsl

import msgspec

from manycall.records import DECODE_ERRORS
from manycall.view.replies import ViewRefused

MAX_PARAMETERS, MAX_QUERY_BYTES = 50, 16 << 10


class ViewRequest:
    """The words of a path that a route leaves open, and the parameters of the query.

    Args:
        words: the words of the path, for example the id of a run.
        query: the query as it was sent.

    Raises:
        ViewRefused: the query is too long.
    """

    def __init__(self, words: tuple[str, ...], query: str) -> None:
        self.words = words
        try:
            if len(query) > MAX_QUERY_BYTES:
                raise ValueError
            pairs = parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise ViewRefused(400, "The query is too long.") from None
        self._values: Mapping[str, str] = dict(pairs)

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter as it was sent."""
        return self._values.get(name, default)

    def names(self, name: str) -> list[str]:
        """Return a parameter that is a list: JSON, or separated by commas."""
        text = self.text(name)
        if text.startswith("["):
            with suppress(*DECODE_ERRORS):
                return msgspec.json.decode(text, type=list[str])
        return [each for each in text.split(",") if each]

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Return a parameter that is a whole number, at least `low` and at most `high`.

        Raises:
            ViewRefused: it is not a whole number.
        """
        try:
            return min(max(int(self.text(name) or default), low), high)
        except ValueError:
            raise ViewRefused(400, f"{name} is not a whole number.") from None

    def time(self, name: str) -> float | None:
        """Return a parameter that is a time; None if it is missing.

        Raises:
            ViewRefused: it is not a number.
        """
        try:
            return float(self.text(name)) if self.text(name) else None
        except ValueError:
            raise ViewRefused(400, f"{name} is not a number.") from None


def path_number(word: str) -> int:
    """Return a row number in a path.

    Raises:
        ViewRefused: it is not a number.
    """
    if not (word.isascii() and word.isdecimal() and len(word) < 16):
        raise ViewRefused(404, "There is no such row.")
    return int(word)
