"""No server fills our memory: over all calls in flight together, in processes of their own."""

import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from hostile import (
    BOMBS,
    DEEP,
    ENDLESS,
    FINE,
    OK,
    TEN_GB,
    answering,
    chat,
    packed,
    stopping_after,
    without_end,
)
from servers import saying, serving
from shell import rows

MEMORY = 128 << 20
"""Bytes by which no fault may raise the memory of a run."""

HEAVY = {
    "endless": ENDLESS,
    "10 GB": TEN_GB,
    "10 MB, then silence": stopping_after(OK + b"content-length: 20000000\r\n\r\n" + 10_000_000 * b" "),
    "header": without_end(OK + b"x: ", 65_536 * b"a"),
    "headers": without_end(OK, b"x: " + 60_000 * b"a" + b"\r\n"),
    "deep": answering(200, DEEP * 8 * b"["),
    "values": answering(200, b'{"data":[{"embedding":[' + DEEP * 7 * b"0," + b"0]}]}"),
    "choices": answering(200, b'{"choices":[' + DEEP * 5 * b"{}," + b"{}]}"),
    "tool calls": answering(200, chat(b'null,"tool_calls":[' + DEEP * 5 * b"[]," + b"[]]")),
    "refusal": answering(400, b"[" + DEEP * 5 * b"[]," + b"[]]"),
    **{name: saying(packed(name, bomb)) for name, bomb in BOMBS.items()},
}

CALLS = """
import asyncio, random, sys
import manycall
from manycall import errors

class AtOnce(random.Random):
    def uniform(self, a, b):
        return a

async def ask(llm, n):
    try:
        await (llm.embed(str(n)) if n % 2 else llm.chat(str(n)))
    except (errors.CallError, errors.RunStopped):
        pass

async def main(url):
    async with manycall.Client(model="m", base_url=url, concurrency=16, timeout=1.0, rng=AtOnce()) as llm:
        await asyncio.gather(*(ask(llm, n) for n in range(16)))

for url in sys.argv[1:]:
    asyncio.run(main(url))
"""
COMMAND_LINE = "from manycall.cli.main import main; main()"


class Measured(NamedTuple):
    """A program that has ended. memory: bytes, at its peak."""

    code: int
    said: str
    memory: int


def measured(program: str, *words: str) -> Measured:
    """Run a Python program; it tells its peak itself, since what the system tells counts the process it came from."""
    tell = "print(open('/proc/self/status').read(), file=open('peak', 'w'))"
    program = f"import atexit\natexit.register(lambda: {tell})\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=100, check=False
    )
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("peak").read_text())
    assert found is not None
    return Measured(done.returncode, done.stderr + done.stdout, 1024 * int(found[1]))


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process's memory")


@on_linux
@pytest.mark.parametrize("names", [[*HEAVY][0::3], [*HEAVY][1::3], [*HEAVY][2::3]], ids=", ".join)
def test_no_server_fills_our_memory(names: list[str]) -> None:
    with serving(answering(200, FINE)) as url:
        healthy = measured(CALLS, url)
    with ExitStack() as stack:
        ill = measured(CALLS, *(stack.enter_context(serving(HEAVY[name])) for name in names))
    assert (healthy.code, healthy.said, ill.code, ill.said) == (0, "", 0, "")
    assert ill.memory - healthy.memory < MEMORY


@on_linux
@pytest.mark.parametrize("name", ["10 GB", "gzip"])
def test_the_command_ends_with_a_sentence_and_little_memory(name: str, tmp_path: Path) -> None:
    words = ["generate", "-p", "hi", "-n", "40", "-m", "m", "-j", "8", "-o"]
    with serving(answering(200, FINE)) as well, serving(HEAVY[name]) as url:
        healthy = measured(COMMAND_LINE, *words, str(tmp_path / "well.jsonl"), "-u", well)
        ill = measured(COMMAND_LINE, *words, str(tmp_path / "ill.jsonl"), "-u", url)
    assert (healthy.code, ill.code) == (0, 4)
    assert "the first 10 rows all failed. Last error: http" in ill.said
    assert "the response is larger than 16,777,216 bytes" in ill.said
    assert "Traceback" not in ill.said
    assert 10 <= len(rows(tmp_path / "ill.jsonl.run" / "failures.jsonl")) <= 20
    assert ill.memory - healthy.memory < MEMORY
