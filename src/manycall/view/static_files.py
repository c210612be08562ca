"""The files of the page. They are read once, so that no request ever becomes a path."""

from importlib.resources import files
from importlib.resources.abc import Traversable

from manycall.view.replies import PageReply

START_PAGE = "/"
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
    """Return the reply of each URL path: `/` for index.html and `/static/NAME` for the others."""
    replies = {
        f"/static/{name}": PageReply(content, CONTENT_TYPES[name.rpartition(".")[2]])
        for name, content in contents.items()
    }
    return {START_PAGE if path == "/static/index.html" else path: reply for path, reply in replies.items()}


def _read(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir():
            found += _read(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in CONTENT_TYPES:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found
