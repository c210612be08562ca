"""The commands when what they write cannot be written: a full disk, a closed stream, a reader that ends early."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from manycall.cli.main import VERBS
from shell import COMMAND, manycall, rows

OUT = Path("out.jsonl")
GENERATE = ("generate", "-p", "Tell a story.", "-m", "any", "-o", "out.jsonl")
NO_SPACE = "manycall: standard output cannot be written: No space left on device\n"


def to_full(*words: str, stderr: bool = False) -> tuple[int, str]:
    """The exit code, and the text on standard error, of a command whose standard output, or error, is a full disk."""
    with Path("/dev/full").open("wb") as full:
        streams: dict[str, Any] = {"stdout": full, "stderr": subprocess.PIPE}
        if stderr:
            streams = {"stdout": subprocess.DEVNULL, "stderr": full}
        done = subprocess.run([*COMMAND, *words], text=True, timeout=60, check=False, **streams)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize(
    "words",
    [
        ("score", OUT, "--report", "shut/page.html"),
        ("compare", OUT, "again.jsonl", "--force", "-o", "shut/changed.jsonl"),
        ("export-lm-eval", OUT, "shut"),
        ("export-lm-eval", OUT, "page.md"),
        ("check-data", OUT, "--text-field", "response", "--flagged", "shut/rejects.jsonl"),
        ("export", OUT, "-o", "shut/rows.jsonl"),
        ("dataset-card", OUT, "--text-field", "response", "-o", "shut/card.md"),
        ("repair", OUT),
    ],
    ids=lambda words: " ".join(map(str, words[::2])),
)
def test_where_nothing_may_be_written_that_is_one_sentence(words: tuple[str | Path, ...]) -> None:
    """Links that lead in a circle, to the lock too: the one refusal that root gets as well."""
    manycall("eval", "wordmath", "-u", "sim:latency=0", "-m", "any", "-o", OUT, "--limit", "2")
    shutil.copy(OUT, "again.jsonl")
    Path("page.md").touch()
    shut = Path("shut")
    shut.mkdir()
    for name in ("page.html", "changed.jsonl", "rejects.jsonl", "rows.jsonl.new", "card.md"):
        (shut / f"{name}.new").symlink_to(f"{name}.new")
    (shut / "any").symlink_to("any")
    lock = Path("out.jsonl.run/lock")
    lock.unlink()
    lock.symlink_to("lock")
    done = manycall(*words)
    assert (done.code, done.out) == (4, "")
    assert re.fullmatch(r"manycall: Cannot write \S+: [a-z ]+\.\n", done.err), done.err
    assert ".new" not in done.err  # a temporary file is not what the user asked for


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_costs_no_row(closed: str) -> None:
    words = shlex.join([*COMMAND, *GENERATE, "-n", "3", "-u", "sim"])
    done = subprocess.run(["/bin/sh", "-c", f"{words} {closed}"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(rows(OUT)) == 3


def test_a_report_that_finds_the_disk_full_is_one_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        words = [*COMMAND, *GENERATE, "-n", "3", "-u", "sim", "--json", "--no-progress"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert done.stderr == NO_SPACE
    assert len(rows(OUT)) == 3


@pytest.mark.parametrize("words", [["-h"], ["--version"], *([verb, "--help"] for verb in VERBS)])
def test_help_on_a_full_disk_is_one_sentence_and_an_exit_code(words: list[str]) -> None:
    assert to_full(*words) == (4, NO_SPACE)


def test_every_verb_whose_standard_output_is_full_says_so_in_one_sentence() -> None:
    manycall(*GENERATE, "-n", "3", "-u", "sim")
    manycall("eval", "wordmath", "--limit", "3", "-u", "sim", "-m", "any", "-o", "e.jsonl")
    Path("r.j2").write_text("Good? {{ text }}")
    for words in (
        [*GENERATE, "-n", "3", "-u", "sim", "--no-progress"],
        [*GENERATE, "-n", "3", "-u", "sim", "--dry-run"],
        ["eval", "wordmath", "--limit", "3", "-u", "sim", "-m", "any", "-o", "e.jsonl", "--no-progress"],
        ["judge", str(OUT), "--rubric", "r.j2", "-u", "sim", "-m", "any", "-o", "j.jsonl", "--no-progress"],
        ["score", "e.jsonl"],
        ["compare", "e.jsonl", "e.jsonl"],
        ["export-lm-eval", "e.jsonl", "lm"],
        ["check-data", str(OUT)],
        ["export", str(OUT), "-o", "x.jsonl"],
        ["dataset-card", str(OUT)],
        ["repair", str(OUT)],
        ["sim", "--port", "0"],
    ):
        code, said = to_full(*words)
        assert (code, said[-len(NO_SPACE) :], said.count("Traceback")) == (4, NO_SPACE, 0), words


def test_an_exit_code_is_the_same_if_standard_error_is_full() -> None:
    assert to_full("dataset-card", "nosuch", stderr=True)[0] == 2
    assert to_full("--version", stderr=True)[0] == 0
    assert to_full(*GENERATE, "-n", "3", "-u", "sim", stderr=True)[0] == 0


def test_a_reader_that_ends_early_causes_no_traceback() -> None:
    manycall(*GENERATE, "-n", "3", "-u", "sim")
    for words in (["--help"], ["generate", "--help"], ["dataset-card", str(OUT)], ["score", "nosuch"]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([*COMMAND, *words], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writer)
        assert (done.returncode, done.stderr) == ((2, done.stderr) if "nosuch" in words else (1, "")), words
        assert "Traceback" not in done.stderr
