"""Recognise a web page where a response of an API was expected."""

import re

_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,300})", re.IGNORECASE)
_TITLE_BYTES = 4096
"""The title of a web page is looked for in this many bytes."""


def page_title(body: bytes) -> str | None:
    """Return the title of a web page, "" if it has none; None if the body is no web page."""
    beginning = body[:_TITLE_BYTES].lstrip()
    if not beginning.startswith(b"<"):
        return None
    title = _TITLE.search(beginning)
    return "" if title is None else title[1].decode("utf-8", "replace").strip()
