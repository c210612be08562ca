"""Cache of the last concurrency window per endpoint and model, so that the next run starts with it.

The file is ~/.cache/manycall/windows.json (see XDG_CACHE_HOME). Errors are ignored, because the cache is only a hint.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from manycall.errors import StorageError
from manycall.records import DECODE_ERRORS
from manycall.store.atomic_write import replace_file
from manycall.store.paths import cache_folder

MAX_CACHED_WINDOWS = 1000


def path() -> Path:
    """Return the path of the cache file."""
    return cache_folder() / "windows.json"


def load_windows() -> dict[str, int]:
    """Return the cached windows by `url model`."""
    try:
        return msgspec.json.decode(path().read_bytes(), type=dict[str, int])
    except (OSError, *DECODE_ERRORS):
        return {}


def save_windows(windows: Mapping[str, int]) -> None:
    """Add windows to the cache, which keeps the last 1,000."""
    if not windows:
        return
    old = {name: size for name, size in load_windows().items() if name not in windows}
    kept = list({**old, **windows}.items())[-MAX_CACHED_WINDOWS:]
    with suppress(OSError, StorageError):
        path().parent.mkdir(parents=True, exist_ok=True)
        replace_file(path(), [msgspec.json.encode(dict(kept))])
