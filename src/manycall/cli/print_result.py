"""How a verb ends: what it prints, and with which exit code."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import typer

from manycall.errors import RunStopped, StorageError
from manycall.terminal import escape_json_controls, sanitize

EXIT_SOME_FAILED = 3
EXIT_BELOW_THRESHOLD = 4


def print_text(text: str) -> None:
    """Print a text completely.

    Raises:
        StorageError, BrokenPipeError: see `flush_output`.
    """
    with writing_output():
        print(text, flush=True)


def flush_output() -> None:
    """Write all that was printed.

    Raises:
        StorageError: standard output cannot be written: the disk is full, for example.
        BrokenPipeError: the reader of a pipe has ended.
    """
    with writing_output():
        sys.stdout.flush()


CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE}


@contextmanager
def writing_output() -> Iterator[None]:
    """Raise what `flush_output` raises if standard output cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in CANNOT_WRITE or error.filename is not None:
            raise
        _discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise StorageError(f"standard output cannot be written: {error.strerror}") from None


def complain(text: str) -> None:
    """Print an error. If standard error cannot be written either, only the exit code reports it."""
    with suppress(OSError):
        print(sanitize(text), file=sys.stderr)
    flush_errors()


def flush_errors() -> None:
    """Write all that was printed on standard error, or drop it."""
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Drop what a stream could not write. The interpreter would try again when it exits, and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_result(result: Any, as_json: bool) -> None:
    """Print what came out, as text or as JSON."""
    if as_json:
        import msgspec

        print_text(escape_json_controls(msgspec.json.encode(result, enc_hook=str).decode()))
    else:
        print_text(sanitize(str(result)))


def print_and_exit(result: Any, as_json: bool, *, fail_under: float | None = None, report: Path | None = None) -> None:
    """Print what came out, and end with the code that says how it went.

    Args:
        fail_under: exit with code 4 if the best score is below this; of several runs, that of any run.
        report: the file that the report is written to.

    Raises:
        typer.Exit: a score is too low, or rows have failed.
    """
    if report is not None:
        from manycall.reports.write_report import write_report

        write_report(result, report)
    print_result(result, as_json)
    if getattr(result, "stopped", ()):
        raise typer.Exit(RunStopped.exit_code)
    if fail_under is not None and result.best_score < fail_under:
        raise typer.Exit(EXIT_BELOW_THRESHOLD)
    if getattr(result, "failed", 0):
        raise typer.Exit(EXIT_SOME_FAILED)
