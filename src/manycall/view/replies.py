"""Replies of the page's routes: JSON values, bytes, streams and refusals."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from manycall.errors import ManycallError

JSON_TYPE = "application/json"


class ViewRefused(ManycallError):
    """A request that cannot be answered.

    Attributes:
        status: the HTTP status.
        hint: what to do; may be empty.
    """

    def __init__(self, status: int, error: str, hint: str = "") -> None:
        super().__init__(error)
        self.status, self.hint = status, hint


class PageReply(msgspec.Struct, frozen=True):
    """A complete reply. `headers` are added to those of every reply."""

    body: bytes
    content_type: str = JSON_TYPE
    status: int = 200
    headers: Mapping[str, str] = {}


class StreamedReply(msgspec.Struct, frozen=True):
    """A reply that is sent piece by piece until the pieces end or the client disconnects."""

    pieces: AsyncIterator[bytes]
    content_type: str
    headers: Mapping[str, str] = {}


def json_reply(value: Any) -> PageReply:
    """Return a value as JSON."""
    return PageReply(msgspec.json.encode(value))


def error_reply(status: int, error: str, hint: str = "") -> PageReply:
    """Return an error in the form that every route uses."""
    return PageReply(msgspec.json.encode({"error": plain(error), "hint": plain(hint)}), status=status)


def plain(text: str) -> str:
    """Return a text that can be encoded: file names may contain bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode()
