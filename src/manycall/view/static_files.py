"""The files of the page. They are read once, so that no request ever becomes a path."""

import posixpath
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

from manycall.view.replies import PageReply

START_PAGE = "/"
FIRST_MODULES = ("main.js", "runs.js", "rows.js")
"""The modules of the pages that are opened first."""
_STATIC_IMPORT = re.compile(r'\b(?:from|import)\s*"(\.[^"]+)"')
CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def page_files() -> dict[str, bytes]:
    """Return the content of the page's files by name, such as `vendor/preact.mjs`."""
    return dict(_read(files("manycall.view") / "www", ""))


def static_replies(contents: dict[str, bytes]) -> dict[str, PageReply]:
    """Return the reply of each URL path: `/` for index.html and `/static/NAME` for the others.

    The start page names the modules that it needs in a header, so that browsers ask for all at once and not for each
    after they have read the one that imports it.
    """
    replies = {
        f"/static/{name}": PageReply(content, CONTENT_TYPES[name.rpartition(".")[2]])
        for name, content in contents.items()
    }
    del replies["/static/index.html"]
    links = {"link": ", ".join(f"<static/{name}>; rel=modulepreload" for name in _first_modules(contents))}
    return {**replies, START_PAGE: PageReply(contents["index.html"], CONTENT_TYPES["html"], headers=links)}


def _first_modules(contents: Mapping[str, bytes]) -> list[str]:
    """Return the modules of the first pages and all that these import statically."""
    found = list(FIRST_MODULES)
    for name in found:  # which grows
        folder, text = posixpath.dirname(name), contents[name].decode()
        imported = (posixpath.normpath(posixpath.join(folder, each)) for each in _STATIC_IMPORT.findall(text))
        found += [each for each in dict.fromkeys(imported) if each not in found]
    return found


def _read(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir():
            found += _read(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in CONTENT_TYPES:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found
