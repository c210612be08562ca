"""How a verb ends: what it prints, and with which exit code."""

import os
import sys
from pathlib import Path
from typing import Any

import typer

from manycall.errors import StoreError
from manycall.plain import plain, plain_json

SOME_FAILED = 3
BELOW_MIN = 4


def say(text: str) -> None:
    """Print a text, to its end.

    Raises:
        StoreError: it is to go to a file, and the disk is full.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        forget_output()
        raise StoreError(f"standard output cannot be written: {error.strerror}") from None


def forget_output() -> None:
    """Let what could not be written go nowhere; the interpreter would try once more at its end, and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(result: Any, as_json: bool) -> None:
    """Print what came out, as text or as JSON."""
    if as_json:
        import msgspec

        say(plain_json(msgspec.json.encode(result, enc_hook=str).decode()))
    else:
        say(plain(str(result)))


def end(result: Any, as_json: bool, *, least: float | None = None, report: Path | None = None) -> None:
    """Print what came out, and end with the code that says how it went.

    Args:
        least: what the best of its scores must reach.
        report: where a page about it goes.

    Raises:
        typer.Exit: a score is too low, or rows have failed.
    """
    if report is not None:
        from manycall.evals.reports.contents import write_report

        write_report(result, report)
    show(result, as_json)
    if least is not None and max((score.value for score in result.scores), default=least) < least:
        raise typer.Exit(BELOW_MIN)
    if getattr(result, "failed", 0):
        raise typer.Exit(SOME_FAILED)
