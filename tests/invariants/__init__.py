"""What must hold, whatever comes in: one check for each place where strangers' bytes are read.

Each takes plain values, so that a failing one can be written down, and returns in a word what came of it. Anything
that gets out of one is a fault: an AssertionError says which promise is broken, anything else is a crash.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
LONGEST_SENTENCE = 1000


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        yield Path(name)


def sentence(error: Exception, where: str = "") -> str:
    """One line that can be read, and says where; what kind of error it is."""
    said = str(error)
    assert said
    assert where in said
    assert "\n" not in said
    assert len(said) - len(where) <= LONGEST_SENTENCE
    said.encode()
    kind = re.sub(r"'.*'|\".*\"|[^a-z ]+", "", said.replace(where, "").lower())
    return f"{type(error).__name__}: {kind.strip()[:40]}"
