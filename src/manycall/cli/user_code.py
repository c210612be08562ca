"""What a verb must read before it can begin: the user's function, the simulator's answer key."""

import ast
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from manycall.errors import UsageError


def load_function(spec: str) -> Callable[..., Any]:
    """The function in FILE.py:function.

    Raises:
        UsageError: no such file or function, or the file cannot be run.
    """
    function = _load(spec, "function")
    if not callable(function):
        raise UsageError(f"{spec} is not a function")
    return function  # type: ignore[no-any-return]


def load_task(spec: str) -> Any:
    """The task in FILE.py:task; whatever else is named, as it is.

    Raises:
        UsageError: no such file or task, none named, or the file cannot be run.
    """
    if spec.startswith("regex:") or not re.search(r"\.py(:|$)", spec):
        return spec
    if spec.endswith(".py"):
        raise UsageError(f"{spec} is Python: which task in it? Name it as in {spec}:task")
    from msgspec.structs import replace

    from manycall.evals.tasks.task import Task

    task = _load(spec, "task")
    if not isinstance(task, Task):
        raise UsageError(f"{spec} is not a manycall.Task, but {type(task).__name__}")
    return replace(task, origin=spec)


def _load(spec: str, what: str) -> Any:
    """What has this name in this file."""
    name, colon, attribute = spec.rpartition(":")
    path = Path(name)
    if not colon or not attribute or path.suffix != ".py":
        raise UsageError(f"{spec!r} is not FILE.py:{what}")
    module = load_module(path)
    if not hasattr(module, attribute):
        raise UsageError(f"{path} has no {what} {attribute!r}")
    return getattr(module, attribute)


def load_module(path: Path) -> ModuleType:
    """Return the module in a file, which may be anywhere.

    Raises:
        UsageError: no such file, or it cannot be run.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    from manycall.python_api.job_call import USER_MODULE

    _check_imports(path)
    module_spec = importlib.util.spec_from_file_location(f"{USER_MODULE}{path.stem}", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    if (folder := str(path.parent.resolve())) not in sys.path:
        sys.path.append(folder)  # it may import its neighbours; last, so that a neighbour `queue.py` replaces nothing
    usual, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a function mended within the second must load
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's own code
        raise UsageError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = usual
    return module


def _check_imports(path: Path) -> None:
    """Refuse a file that imports a neighbour of which Python would find another one first.

    Raises:
        UsageError: it does; the message names both.
    """
    for name in _imported(path):
        own = (path.parent / f"{name}.py", path.parent / name / "__init__.py")
        mine = next((each.resolve() for each in own if each.is_file()), None)
        if mine is None or name in sys.stdlib_module_names:
            continue
        module = sys.modules.get(name)
        spec = importlib.util.find_spec(name) if module is None else module.__spec__
        if spec is not None and spec.origin not in (None, str(mine)):
            raise UsageError(
                f"{path} imports {name!r}, and there are two: {mine} and {spec.origin}, which Python finds first. "
                "Rename yours"
            )


def _imported(path: Path) -> Iterator[str]:
    """The modules that a file of Python imports, by the first part of their names."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # loading it gives the reason
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module.partition(".")[0]


def load_answer_key(key: str | None) -> dict[str, Any]:
    """Return the answer key of the simulated endpoint (`sim.generated_text.AnswerKey`).

    Args:
        key: "wordmath", or a file. Its rows have `question` and `answer` (GSM8K's `#### ` is understood), or `prompt`,
            `right` and `wrong`: the end of a prompt, and a right and a wrong response to it.

    Raises:
        UsageError: a row has neither.
    """
    if key is None:
        return {}
    from manycall.data.row_files import read_rows
    from manycall.evals.scoring.choice_answers import choices_of, target_letter
    from manycall.evals.tasks import wordmath
    from manycall.sim.generated_text import PlantedResponses

    rows: Any = ((row["id"], row) for row in wordmath.problems()) if key == "wordmath" else read_rows(Path(key))
    answers: dict[str, Any] = {}
    for where, fields in rows:
        if {"prompt", "right", "wrong"} <= fields.keys():
            answers[str(fields["prompt"])] = PlantedResponses(str(fields["right"]), str(fields["wrong"]))
            continue
        if "question" not in fields or "answer" not in fields:
            raise UsageError(
                f"{key}, {where}: a row of an answer key needs question and answer, or prompt, right and wrong"
            )
        right = str(fields["answer"]).rpartition("#### ")[2].strip()
        is_position = choices_of(fields) is not None and right.isdecimal()
        answers[str(fields["question"]).strip()] = target_letter(right) if is_position else right
    return answers
