"""How many calls an endpoint took the last time, for each model: so that the next run need not find it again.

In ~/.cache/manycall/windows.json (XDG_CACHE_HOME). It is a hint: whatever goes wrong with it is passed over.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from manycall.errors import StoreError
from manycall.records import UNREADABLE
from manycall.store.lines import write_whole

MOST_REMEMBERED = 1000


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/manycall, or ~/.cache/manycall."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (that one may raise)
    return Path(folder) / "manycall"


def path() -> Path:
    """The file."""
    return cache_folder() / "windows.json"


def recall() -> dict[str, int]:
    """The windows, by `url model`."""
    try:
        return msgspec.json.decode(path().read_bytes(), type=dict[str, int])
    except (OSError, *UNREADABLE):
        return {}


def remember(windows: Mapping[str, int]) -> None:
    """Keep these, and the others that were remembered lately."""
    if not windows:
        return
    old = {name: size for name, size in recall().items() if name not in windows}
    kept = list({**old, **windows}.items())[-MOST_REMEMBERED:]
    with suppress(OSError, StoreError):
        path().parent.mkdir(parents=True, exist_ok=True)
        write_whole(path(), [msgspec.json.encode(dict(kept))])
