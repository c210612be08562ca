"""The command: its verbs, and how it ends when something is wrong."""

import os
import sys
import threading
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated

import typer

from manycall._version import __version__
from manycall.cli import jobs, outputs, words
from manycall.cli.calling import Verb
from manycall.cli.ending import forget_output
from manycall.cli.sim import sim
from manycall.errors import ManycallError, RunStopped
from manycall.plain import plain

app = typer.Typer(
    name="manycall",
    help="Make many LLM calls: fast, resumable, scored.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

THREAD_SECONDS = 1.0
"""How long threads are waited for when the command has been stopped."""

VERBS: dict[str, Verb] = {
    "generate": jobs.generate,
    "steps": jobs.steps,
    "eval": jobs.evaluate,
    "run": jobs.run,
    "score": outputs.score,
    "judge": jobs.judge,
    "compare": outputs.compare,
    "lm-eval": outputs.lm_eval,
    "quality": outputs.quality,
    "export": outputs.export,
    "card": outputs.card,
    "repair": outputs.repair,
    "sim": sim,
}
for name, verb in VERBS.items():
    app.command(name)(verb)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"manycall {__version__}")
        raise typer.Exit


def main() -> None:
    """The command. Every error is one sentence on stderr, and an exit code."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue  # standard input, output or error was closed: a file of ours in its place would be taken for it
    os.close(number)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the screen cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        words.check(sys.argv[1:])
        app()
    except ManycallError as error:
        print(plain(f"manycall: {error}"), file=sys.stderr)
        if isinstance(error, RunStopped):
            again = words.again(sys.argv[1:])
            print(plain(f"{error.done} rows are on disk; {error.remedy}: {again}"), file=sys.stderr)
        _leave(error.exit_code)
    except BrokenPipeError:  # somebody piped us into `head`
        forget_output()
        sys.exit(1)
    except KeyboardInterrupt:
        _leave(130)


def _leave(code: int) -> None:
    """End the process. Python would wait for ever for a thread of a row function that is blocked."""
    others = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    for each in others:
        each.join(THREAD_SECONDS / len(others))
    if any(each.is_alive() for each in others):
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
