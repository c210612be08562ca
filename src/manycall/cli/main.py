"""The command `manycall`: its verbs, and the message and exit code of every error."""

import errno
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated

import typer

from manycall._version import __version__
from manycall.cli import argv
from manycall.cli.print_result import complain, flush_errors, flush_output, writing_output
from manycall.errors import ManycallError, RunStopped, SettingsMismatch, UsageError
from manycall.option_flags import spelled_as_flags

app = typer.Typer(
    name="manycall",
    help="Make many LLM calls: fast, resumable, scored.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

THREAD_SECONDS = 1.0
"""Time for which a stopped command waits for its threads to end."""

VERBS = {
    "generate": "run_commands.generate",
    "steps": "run_commands.steps",
    "eval": "run_commands.evaluate",
    "run": "run_commands.run",
    "run-batch": "run_commands.run_batch",
    "embed": "run_commands.embed",
    "score": "output_commands.score",
    "judge": "run_commands.judge",
    "compare": "output_commands.compare",
    "export-lm-eval": "output_commands.export_lm_eval",
    "check-data": "output_commands.check_data",
    "export": "output_commands.export",
    "dataset-card": "output_commands.dataset_card",
    "status": "output_commands.status",
    "view": "view_command.view",
    "repair": "output_commands.repair",
    "sim": "sim_command.sim",
}
"""The module and the function of each verb."""


def _add_verbs(words: Sequence[str]) -> None:
    """Add the verb of this command to the app, or all verbs if the command names none. Each takes about 1 ms."""
    for verb in words[:1] if words and words[0] in VERBS else VERBS:
        module, _, function = VERBS[verb].partition(".")
        app.command(verb)(getattr(import_module(f"manycall.cli.{module}"), function))


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"manycall {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command. Every expected error becomes one message on stderr, and an exit code."""
    threads = set(threading.enumerate())
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not every terminal can show every character
            stream.reconfigure(errors="backslashreplace")
    try:
        argv.check(sys.argv[1:])
        _add_verbs(sys.argv[1:])
        with spelled_as_flags():
            _run()
    except ManycallError as error:
        complain(f"manycall: {error}")
        if isinstance(error, RunStopped):
            complain(f"{error.rows_done} rows are saved. {error.next_step}: {argv.resume_command(sys.argv[1:])}")
        if isinstance(error, SettingsMismatch) and error.from_ is not None:
            complain(f"Decide the rows again with: {argv.command_with(sys.argv[1:], '--from', error.from_)}")
        _leave(error.exit_code, threads)
    except BrokenPipeError:  # the reader of a pipe has ended, as `head` does
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        complain(f"manycall: {error.filename}: {error.strerror}")
        sys.exit(UsageError.exit_code)
    except KeyboardInterrupt:
        _leave(130, threads)


def _run() -> None:
    """Run the verb.

    Typer exits after printing the help, the version or a usage error. Flush these too, so that a write error is
    reported.
    """
    try:
        with writing_output():
            app()
    except SystemExit:
        flush_output()
        flush_errors()
        raise


def _open_closed_streams() -> None:
    """Connect closed standard streams to /dev/null.

    Otherwise the next opened file would get the number of the closed stream, and everything printed would be written
    to that file.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue
    os.close(number)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
        for stream, mode in ((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w"))
    )


def _leave(code: int, before: set[threading.Thread]) -> None:
    """End the process, even if a thread of a row function is blocked. sys.exit() would wait for it forever.

    Args:
        code: the exit code.
        before: the threads that existed before the command started. They are not waited for.
    """
    others = [each for each in threading.enumerate() if each not in before and not each.daemon]
    for each in others:
        each.join(THREAD_SECONDS / len(others))
    if any(each.is_alive() for each in others):
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
