"""The work that is done while things go wrong, and the count of what has come of it.

The simulated endpoint draws its answers from what it is asked, so a run that was disturbed must end with the same rows
as one that was not.
"""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shell import Ended, finish, rows, start

IN_FLIGHT = 24
ROWS = 150
PACE = ("--latency", "0.04", "--token-latency", "0.0003")
FUNCTION = """\
import asyncio

async def three(row, llm):
    first = (await llm.chat("Tell of " + row["q"])).text
    more, less = await asyncio.gather(llm.chat("More of " + first), llm.chat("Less of " + first))
    return {"first": first, "more": more.text, "less": less.text}
"""


class Work(NamedTuple):
    """A job over a few rows.

    Attributes:
        words: the command, but for the endpoint and the output.
        rows: how many; calls: how many each of them makes.
        sim: options of its endpoint.
    """

    name: str
    words: tuple[str, ...]
    rows: int
    calls: int = 1
    sim: tuple[str, ...] = PACE

    def begin(self, url: str, out: "Output", *more: str, **environment: str) -> subprocess.Popen[str]:
        """Begin the command, or go on with it, with these options; without any, with -j alone."""
        cache = {"XDG_CACHE_HOME": str(out.path.parent / "cache")}
        options = ("-m", "any", "-u", url, "-o", str(out.path), "--no-progress", *(more or ("-j", str(IN_FLIGHT))))
        return start(*self.words, *options, env={**cache, **environment})

    def run(self, url: str, out: "Output", *more: str) -> Ended:
        """The whole command."""
        return finish(self.begin(url, out, *more))


def works(folder: Path, count: int = ROWS) -> list[Work]:
    """One of each kind of job, with its files in this folder."""
    rows, function = folder / "in.jsonl", folder / "three.py"
    rows.write_text("".join(json.dumps({"id": f"row {n}", "q": f"tale {n}"}) + "\n" for n in range(count)))
    function.write_text(FUNCTION)
    same = ("--temperature", "0")  # the same question, the same answer
    return [
        Work("generate", ("generate", str(rows), "-p", "Tell of {{ q }}", *same), count),
        Work("eval", ("eval", "wordmath", "--limit", str(count)), count, sim=(*PACE, "--answer-key", "wordmath")),
        Work("run", ("run", f"{function}:three", str(rows), *same), count, calls=3),
    ]


class Output:
    """An output and its run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.with_name(path.name + ".run")
        self.journal = self.folder / "calls.jsonl"

    @property
    def calls(self) -> int:
        """Calls in the journal."""
        return _lines(self.journal)

    def has(self, calls: int) -> bool:
        """Whether so many calls are in the journal."""
        return self.calls >= calls

    @property
    def done(self) -> int:
        """Rows in the output."""
        return _lines(self.path)

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """The sessions in the manifest, oldest first."""
        found: list[dict[str, Any]] = json.loads((self.folder / "manifest.json").read_bytes())["sessions"]
        return found

    @property
    def session(self) -> Counter[str]:
        """What the sessions that were not killed have counted."""
        counts: Counter[str] = Counter()
        for session in self.sessions:
            counts.update({name: count for name, count in session.items() if isinstance(count, int)})
        return counts

    @property
    def doubtful(self) -> int:
        """Attempts that were reported as perhaps paid for."""
        return self.session["possibly_billed"]

    def moments(self) -> list[float]:
        """When the calls in the journal were answered, by the wall clock."""
        return [call["at"] for call in rows(self.journal)]

    def answers(self) -> dict[str, dict[str, Any]]:
        """The rows, by id."""
        return {row["id"]: row for row in rows(self.path)}

    def damage(self, *, at_rest: bool) -> list[str]:
        """Lines that are no JSON. While nobody has mended it, the last line of a file may be torn."""
        found = []
        for path in (self.path, *self.folder.glob("*.jsonl")):
            if path.exists():
                *lines, tail = path.read_bytes().split(b"\n")
                found += [f"{path.name}, line {n} is no JSON" for n, line in enumerate(lines, 1) if not _is_json(line)]
                if at_rest and tail:
                    found.append(f"{path.name} ends with half a line")
        manifest = self.folder / "manifest.json"
        if manifest.exists() and not _is_json(manifest.read_bytes()):
            found.append("manifest.json is no JSON")
        return found

    def audit(self, ids: Iterable[str], *, calls: int, finished: int, most: int) -> list[str]:
        """What is not as promised, now that every row should be done.

        Args:
            ids: the rows'; calls: how many of them belong in the journal.
            finished: calls that the server has worked on to their end; most: how many that may be.
        """
        times, expected = Counter(str(row["id"]) for row in rows(self.path)), set(ids)
        kept = Counter((call["id"], call["key"], call["nth"]) for call in rows(self.journal) if _answers(call))
        counts = {
            "rows lost": len(expected - times.keys()),
            "rows twice": sum(n > 1 for n in times.values()),
            "rows that nobody asked for": len(times.keys() - expected),
            "calls in the journal twice": sum(n > 1 for n in kept.values()),
            f"calls in the journal, not {calls}": 0 if len(kept) == calls else len(kept) or -1,
            "rows still in failures.jsonl": _lines(self.folder / "failures.jsonl"),
            f"calls were finished by the server, which is more than {most}": finished if finished > most else 0,
        }
        return self.damage(at_rest=True) + [f"{count} {what}" for what, count in counts.items() if count]


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Whether some rows are not what they are in a run that nothing has disturbed."""
    differ = [name for name, row in before.items() if after.get(name) != row]
    return [f"{len(differ)} rows differ from an undisturbed run, {differ[0]!r} for one"] if differ else []


def wait_until(what: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> bool:
    """Wait for it; False if the process ended before.

    Raises:
        AssertionError: it takes too long.
    """
    deadline = time.monotonic() + seconds
    while not what():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, f"nothing came of it in {seconds} s"
        time.sleep(0.002)
    return True


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _answers(call: Mapping[str, Any]) -> bool:
    """Whether a reply in the journal holds an answer."""
    return bool(_is_json(call["body"].encode()) and json.loads(call["body"]).get("choices"))
