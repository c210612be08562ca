"""`-u sim`: start the simulated endpoint as a subprocess that ends with this process, even if it is killed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import DECODE_ERRORS
from manycall.terminal import sanitize_line

PACKAGE_FOLDER = Path(__file__).parents[2]
START = """\
import sys
sys.path.append(sys.argv[1])
sys.argv[:2] = ["manycall"]
from manycall.cli.main import main
main()
"""
"""Run with -P instead of `-m manycall`, which would put the current folder first on the path and could execute a user's
`random.py`. PACKAGE_FOLDER is the last entry; it is needed if the package is not installed."""


def is_sim(url: str) -> bool:
    """Return whether a base URL is `sim`, alone or with options: `sim:latency=0.2,slots=8`."""
    return url == "sim" or url.startswith("sim:")


def with_option(url: str, name: str, value: str) -> str:
    """Return a sim URL with one more option, unless it already has that option."""
    _, _, options = url.partition(":")
    if any(option.startswith(f"{name}=") for option in options.split(",")):
        return url
    return f"sim:{options},{name}={value}" if options else f"sim:{name}={value}"


def find_option(url: str, name: str) -> str | None:
    """Return the value of an option of a sim URL; None if it has no such option."""
    options = (option.partition("=") for option in url.partition(":")[2].split(","))
    return next((value for key, _, value in options if key == name), None)


class SimProcess:
    """The process of one simulated endpoint.

    Args:
        url: `sim` or `sim:latency=0.2,slots=8`, with the options of `manycall sim` without dashes.

    Attributes:
        stats: what the server prints when it stops: calls, tokens, number of requested and of correctly answered
            questions. None while it runs; {} if it was killed.
    """

    def __init__(self, url: str) -> None:
        options = [option for option in url.partition(":")[2].split(",") if option]
        if bad := next((option for option in options if "=" not in option), None):
            raise UsageError(
                f"{option('base_url', url)}: {bad!r} is not valid. Expected name=value, as in sim:latency=0.2,slots=8."
            )
        pairs = (option.partition("=") for option in options)
        self._args = [f"--{name.replace('_', '-')}={value}" for name, _, value in pairs]
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self.stats: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<SimProcess {' '.join(self._args)} at {self._url or '(not started)'}>"

    def start(self) -> str:
        """Start the process and return its base URL. It stops when its standard input is closed."""
        python = [sys.executable, "-P", "-c", START, str(PACKAGE_FOLDER)]
        command = [*python, "sim", "--port", "0", "--until-stdin-closes", *self._args]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            bufsize=0,  # so that readline leaves the following lines to communicate()
        )  # fmt: skip
        assert self._process.stdout is not None
        output = b""
        for line in iter(self._process.stdout.readline, b""):
            if line.startswith(b"http://"):
                self._url = line.decode().strip()
                return self._url
            output += line
        self._process.communicate()
        self.stats = {}  # there is nothing to stop
        raise UsageError(f"The simulated endpoint did not start: {_FLAG.sub(_option, _last_line(output))}")

    def stop(self) -> None:
        """Stop the process and read `stats` from its output."""
        if self._process is None or self.stats is not None:
            return
        try:
            output = self._process.communicate(timeout=10)[0]
            if self._process.returncode:
                print(f"manycall: the simulated endpoint stopped unexpectedly: {_last_line(output)}", file=sys.stderr)
            self.stats = msgspec.json.decode(output.strip().rpartition(b"\n")[2], type=dict[str, Any])
        except (subprocess.TimeoutExpired, *DECODE_ERRORS):
            self.stats = {}
            self._process.kill()
            self._process.wait()


_FLAG = re.compile("--([a-z][a-z-]*)")


def _option(flag: re.Match[str]) -> str:
    """Return a flag of `manycall sim` as it is written in `sim:NAME=VALUE`."""
    return flag[1].replace("-", "_")


def _last_line(output: bytes) -> str:
    """Return the last line of the output of a command, which is its error or that of its traceback."""
    last = output.decode(errors="replace").strip().rpartition("\n")[2]
    return sanitize_line(last.removeprefix("Error: ").removeprefix("manycall: ")) or "no output"
