"""`-u sim`: start the simulated endpoint in its own process, and stop it with ours, however ours ends."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.plain import plain_line
from manycall.records import UNREADABLE

PACKAGE_FOLDER = Path(__file__).parents[2]
START = """\
import sys
sys.path.append(sys.argv[1])
sys.argv[:2] = ["manycall"]
from manycall.cli.main import main
main()
"""
"""With -P, and in place of `-m manycall`, which would put the current folder first on the path: a `random.py` that lies
there must not be executed. PACKAGE_FOLDER comes last; it is needed where the package is not installed."""


def is_sim(url: str) -> bool:
    """Whether this is `sim`, perhaps with options: `sim:latency=0.2,slots=8`."""
    return url == "sim" or url.startswith("sim:")


def with_option(url: str, name: str, value: str) -> str:
    """A sim URL with one more option, unless it has that one."""
    _, _, options = url.partition(":")
    if any(option.startswith(f"{name}=") for option in options.split(",")):
        return url
    return f"sim:{options},{name}={value}" if options else f"sim:{name}={value}"


class Sim:
    """One simulated endpoint.

    Args:
        url: `sim`, or `sim:latency=0.2,slots=8`: the options of `manycall sim`, without their dashes.

    Attributes:
        stats: what it says when it ends: calls, tokens, and how many questions it was asked and answered
            right on purpose.
    """

    def __init__(self, url: str) -> None:
        options = [option for option in url.partition(":")[2].split(",") if option]
        if bad := next((option for option in options if "=" not in option), None):
            raise UsageError(f"-u {url}: {bad!r} is not name=value, as in sim:latency=0.2,slots=8")
        pairs = (option.partition("=") for option in options)
        self._args = [f"--{name.replace('_', '-')}={value}" for name, _, value in pairs]
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self.stats: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<Sim {' '.join(self._args)} at {self._url or 'nowhere yet'}>"

    def start(self) -> str:
        """Start it; return its base URL. It ends when our end of its standard input closes."""
        python = [sys.executable, "-P", "-c", START, str(PACKAGE_FOLDER)]
        command = [*python, "sim", "--port", "0", "--until-stdin-closes", *self._args]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            bufsize=0,  # readline must leave to communicate what comes after the line
        )  # fmt: skip
        assert self._process.stdout is not None
        said = b""
        for line in iter(self._process.stdout.readline, b""):
            if line.startswith(b"http://"):
                self._url = line.decode().strip()
                return self._url
            said += line
        self._process.communicate()
        raise UsageError(f"the simulated endpoint did not start: {_last_line(said)}")

    def stop(self) -> None:
        """Stop it, and take what it says at its end into `stats`."""
        if self._process is None or self.stats is not None:
            return
        try:
            said = self._process.communicate(timeout=10)[0]
            if self._process.returncode:
                print(f"manycall: the simulated endpoint died: {_last_line(said)}", file=sys.stderr)
            self.stats = msgspec.json.decode(said.strip().rpartition(b"\n")[2], type=dict[str, Any])
        except (subprocess.TimeoutExpired, *UNREADABLE):
            self.stats = {}
            self._process.kill()
            self._process.wait()


def _last_line(output: bytes) -> str:
    """What a command said last: its error, or that of its traceback."""
    last = output.decode(errors="replace").strip().rpartition("\n")[2]
    return plain_line(last.removeprefix("Error: ").removeprefix("manycall: ")) or "it printed nothing"
