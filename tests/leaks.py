"""Does a key get out? `python tests/leaks.py` runs the whole suite with a key that nobody else has, and looks for it.

In every file that any test left, and in all that the run printed. Exit code 0: every test passed, and the key was
found nowhere. Words that are given go to pytest: `python tests/leaks.py tests/test_cli.py`.
"""

import base64
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SECONDS = 1800


class Search(NamedTuple):
    """What was looked through, and where the key was."""

    files: int
    bytes: int
    found: list[str]

    def __str__(self) -> str:
        return f"{self.files} files, {self.bytes:,} bytes, the key in {len(self.found)}: {', '.join(self.found) or '-'}"


def needles(key: str) -> list[bytes]:
    """What gives the key away, in lower case: its random end, plain or in any escape; and its base64."""
    pads = (base64.b64encode(b" " * n + key.encode())[4:-4].lower() for n in range(3))
    return [key.rpartition("-")[2].encode().lower(), *pads]


def holds(text: bytes, key: str) -> bool:
    """Whether the key stands in a text."""
    low = text.lower()
    return any(needle in low for needle in needles(key))


def search(folders: Iterable[Path], key: str) -> Search:
    """Look through every file in these folders, names included."""
    files = size = 0
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                files, size = files + 1, size + len(content)
                if holds(content + str(path).encode("utf-8", "replace"), key):
                    found.append(str(path))
    return Search(files, size, found)


def main() -> int:
    """Run the suite with a new key; search; say the figures."""
    key = f"CANARY-{secrets.token_hex(16)}"
    with tempfile.TemporaryDirectory(prefix="leaks-") as folder:
        said, left = Path(folder) / "said", Path(folder) / "left"
        said.mkdir()
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "2",
            "--answer-key",
            key,
            "--basetemp",
            str(left),
            *(sys.argv[1:] or ["tests"]),
        ]
        with (said / "out").open("wb") as out:
            code = subprocess.run(
                command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, timeout=SECONDS, check=False
            ).returncode
        result = search([said, left, ROOT / ".pytest_cache", ROOT / ".hypothesis"], key)
        print("\n".join((said / "out").read_text(errors="replace").replace(key, "***").splitlines()[-30:]))
    print(f"pytest ended with {code}; {result}")
    return int(code != 0 or bool(result.found))


if __name__ == "__main__":
    sys.exit(main())
