"""The call of a job function, such as `generate(prompt, rows, ...)`, so that a worker process can make the same call.

A worker makes it to build the same job. It gets its rows from the driver, so it reads only the first one of the input.
Values travel as text and numbers, functions and types as the name of what defines them. Nothing is pickled, and no key
is part of it.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from inspect import signature
from operator import attrgetter
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from manycall.errors import ManycallError, UsageError
from manycall.evals.tasks.task import Task
from manycall.option_flags import is_command_line, option
from manycall.records import Fields
from manycall.run.options import wrap_api_key
from manycall.synth.step_base import Step

F = TypeVar("F", bound=Callable[..., Any])

ROWS_ARGUMENTS = ("rows", "answers")
"""Arguments with rows. A worker needs only the first row of them."""
DRIVER_ARGUMENTS = ("api_key", "processes", "cluster", "progress", "overwrite", "dry_run")
"""Arguments that do not concern a worker. It finds the key where the driver found it."""
USER_MODULE = "_user_"
"""Beginning of the name of a module that was loaded from the path of its file, and is not on the import path."""


class JobCall(NamedTuple):
    """The call of a job function.

    Attributes:
        function: its name.
        arguments: its arguments by name.
    """

    function: str
    arguments: dict[str, Any]

    def for_worker(self, first_row: Fields | None) -> "JobCall":
        """Return the call that a worker makes: with the same arguments, but reading one row only."""
        arguments = {name: value for name, value in self.arguments.items() if name not in DRIVER_ARGUMENTS}
        for name in ROWS_ARGUMENTS:
            if isinstance(arguments.get(name), str | Path):
                arguments["limit"] = 1
            elif arguments.get(name) is not None:
                arguments[name] = [] if first_row is None else [first_row]
        return JobCall(self.function, arguments)


class _PlainCall(msgspec.Struct, array_like=True):
    """A call for another process."""

    function: str
    arguments: dict[str, Any]
    path: list[str]
    is_command_line: bool


_current: ContextVar[JobCall | None] = ContextVar("job_call", default=None)
_is_loading: ContextVar[bool] = ContextVar("is_loading_user_code", default=False)


def job_function(function: F) -> F:
    """Let `current_call` return the calls of this function while they run."""
    parameters = signature(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "api_key" in kwargs:
            kwargs["api_key"] = wrap_api_key(kwargs["api_key"])  # first, so that no traceback shows it
        if _is_loading.get():
            raise UsageError(
                f"{function.__name__} is called when the script is imported, which each worker process does. Put the "
                'call under `if __name__ == "__main__":`.'
            )
        try:
            arguments = parameters.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{function.__name__}(): {error}") from None
        token = _current.set(JobCall(function.__name__, arguments))
        try:
            return function(*args, **kwargs)
        except ManycallError as error:  # its message says everything: a notebook would show sixty lines of our frames
            raise error.with_traceback(None) from error.__cause__
        finally:
            _current.reset(token)

    return cast(F, call)


def current_call() -> JobCall | None:
    """Return the call of the job function that is running; None outside of one."""
    return _current.get()


def encode_job_call(call: JobCall) -> bytes:
    """Return the call as bytes, with where this process imports modules from.

    Raises:
        UsageError: an argument cannot be passed to another process.
    """
    arguments = {name: _plain(value, name) for name, value in call.arguments.items()}
    return msgspec.msgpack.encode(_PlainCall(call.function, arguments, sys.path, is_command_line()))


def decode_job_call(encoded: bytes, load_file: Callable[[Path], ModuleType]) -> tuple[JobCall, bool]:
    """Return an encoded call, and whether it was made by the command line.

    Args:
        load_file: returns the module in a file.

    Raises:
        UsageError: a module cannot be loaded.
    """
    plain = msgspec.msgpack.decode(encoded, type=_PlainCall)
    sys.path[:] = plain.path
    token = _is_loading.set(True)
    try:
        arguments = {name: _restored(value, load_file) for name, value in plain.arguments.items()}
    except Exception as error:  # the user's own code
        raise UsageError(f"A worker process cannot load your code: {type(error).__name__}: {error}") from error
    finally:
        _is_loading.reset(token)
    return JobCall(plain.function, arguments), plain.is_command_line


def _plain(value: Any, name: str) -> Any:
    """Return a value as what MessagePack has. Everything but numbers, texts and lists becomes a tagged mapping."""
    if isinstance(value, Step):
        value = msgspec.to_builtins(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, name) for each in value]
    if isinstance(value, Mapping):
        return {"keys": list(value), "values": [_plain(each, name) for each in value.values()]}
    if isinstance(value, Task):
        return _task(value, name)
    if isinstance(value, PathLike):
        return {"path": fspath(value)}
    return _reference(value, name) if callable(value) else value


def _task(task: Task, name: str) -> dict[str, str]:
    """Return where a task of the user is defined."""
    if not task.origin or task.origin.startswith("regex:"):
        remedy = 'Name the file that defines it, as in Task(..., origin="FILE.py:task").'
        raise _cannot_travel(name, "a Task without an origin", remedy)
    return {"task": task.origin}


def _reference(value: Any, name: str) -> dict[str, str]:
    """Return where a function or a type is defined."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    qualified = getattr(value, "__qualname__", "")
    if module is None or not qualified or "<" in qualified:
        raise _cannot_travel(name, "a function or a type that has no name in a module", "Define it in a file, by name.")
    if _find(module, qualified) != value:
        what = "a bound method, a wrapped function or a type with parameters"
        raise _cannot_travel(name, what, "Define a function or a type in a file, and pass it by name.")
    if module.__name__ == "__main__" or module.__name__.startswith(USER_MODULE):
        if not (file := getattr(module, "__file__", None)):
            raise _cannot_travel(name, "defined in a notebook or at a prompt", "Define it in a .py file and import it.")
        return {"file": str(Path(file).resolve()), "name": qualified}
    return {"module": module.__name__, "name": qualified}


def _find(module: ModuleType, qualified: str) -> Any:
    """Return what has this name in a module; None if nothing has."""
    found: Any = module
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return found


def _cannot_travel(name: str, what: str, remedy: str) -> UsageError:
    return UsageError(f"With {option('processes')}, {name} cannot be {what}: other processes must find it. {remedy}")


def _restored(value: Any, load_file: Callable[[Path], ModuleType]) -> Any:
    if isinstance(value, list):
        return [_restored(each, load_file) for each in value]
    if not isinstance(value, dict):
        return value
    if "keys" in value:
        return dict(zip(value["keys"], (_restored(each, load_file) for each in value["values"]), strict=True))
    if "path" in value:
        return Path(value["path"])
    if "task" in value:
        file, _, attribute = value["task"].rpartition(":")
        return msgspec.structs.replace(getattr(load_file(Path(file)), attribute), origin=value["task"])
    module = load_file(Path(value["file"])) if "file" in value else importlib.import_module(value["module"])
    return attrgetter(value["name"])(module)
