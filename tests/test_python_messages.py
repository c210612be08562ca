"""Errors name options as the user writes them: `out=` in Python, `--out` on the command line."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import manycall
import manycall.steps
from manycall.option_flags import option, rerun, spelled_as_flags
from manycall.run.argument_types import ARGUMENT_TYPES
from manycall.run.options import declared_options
from manycall.testing import run_virtual

PACKAGE = Path(manycall.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z]")
SIM: dict[str, Any] = {"model": "m", "base_url": "sim", "progress": False}
RUN: dict[str, Any] = {**SIM, "out": "o.jsonl"}
ROWS = [{"q": "a"}]


async def answer(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
    return {"a": 1}


def client(**options: Any) -> manycall.Client:
    return manycall.Client("m", **options)


MISTAKES: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (manycall.generate, ("x",), {**RUN, "samples": 0}),
    (manycall.generate, ("x",), {**RUN, "limit": 0}),
    (manycall.generate, ("x",), {**RUN, "concurrency": 0}),
    (manycall.generate, ("x",), {**RUN, "timeout": 0}),
    (manycall.generate, ("x",), {**RUN, "max_cost": 1}),
    (manycall.generate, ("x",), {**RUN, "max_cost": "5"}),
    (manycall.generate, ("x",), {**RUN, "concurrency": "8"}),
    (manycall.generate, ("x",), {**RUN, "limit": 1e3}),
    (manycall.generate, ("x",), {**RUN, "timeout": True}),
    (manycall.generate, ("x",), {**RUN, "max_total_tokens": 0}),
    (manycall.generate, ("x",), {**RUN, "price": "cheap"}),
    (manycall.generate, ("x",), {**RUN, "max_time": "soon"}),
    (manycall.evaluate, ("wordmath",), {**RUN, "params": {"n": 2}}),
    (manycall.generate, ("x",), {**RUN, "params": {"stream": True}}),
    (manycall.generate, ("x",), {**RUN, "out": "."}),
    (manycall.generate, ("x",), {**RUN, "out": "new/"}),
    (manycall.generate, ("x",), {**RUN, "model": ""}),
    (manycall.generate, ("x",), {**RUN, "base_url": "sim:lateness=1"}),
    (manycall.generate, ("x",), {**RUN, "base_url": "http://model.example/v1", "api_key": "secret-key"}),
    (manycall.generate, ("{{ q }}", [{"q": "a", "text": "b"}]), RUN),
    (manycall.generate, ("{{ q }}", "missing.jsonl"), RUN),
    (manycall.generate, ("{{ q }}", ROWS), {**RUN, "id_field": "name"}),
    (manycall.generate, ("{{ x }}", ROWS), RUN),
    (manycall.generate, ("{{ q }}", ROWS), {**RUN, "random_vars": {"v": []}}),
    (manycall.generate, ("{{ q }}", ROWS), {**RUN, "grid_vars": {"q": ["a"]}}),
    (manycall.generate, ("{{ q }}", ROWS), {**RUN, "schema": "missing.json"}),
    (manycall.generate, ("{{ q }}", ROWS), {**RUN, "schema": {"type": "object"}, "api": "completions"}),
    (manycall.generate, ("{{ q }}", ROWS), {**RUN, "output_field": "id"}),
    (manycall.map, (print, ROWS), RUN),
    (manycall.map, (answer, ["a"]), RUN),
    (manycall.run_steps, ([], ROWS), RUN),
    (manycall.run_steps, ([{"generate": "x", "fild": "a"}], ROWS), RUN),
    (manycall.evaluate, ("gsm9k",), RUN),
    (manycall.evaluate, ("wordmath",), {**RUN, "scorer": "exact"}),
    (manycall.judge, (ROWS, "Good? {{ q }}"), {**RUN, "scale": "5"}),
    (manycall.judge, (ROWS, "Good? {{ q }}"), {**RUN, "scale": "1-5", "labels": "good,bad"}),
    (manycall.judge, (ROWS, "Good?"), RUN),
    (manycall.run_batch, ("missing.jsonl",), {"out": "o.jsonl", "base_url": "sim"}),
    (manycall.score, ("missing.jsonl",), {}),
    (manycall.score, ("done.jsonl",), {"scorer": "judge"}),
    (manycall.score, ("done.jsonl",), {"scorer": "exactly"}),
    (manycall.compare, ("done.jsonl",), {}),
    (manycall.export, ("done.jsonl", "e.jsonl"), {"format": "csv"}),
    (manycall.export, ("done.jsonl", "done.jsonl"), {}),
    (manycall.check_data, ("done.jsonl",), {"text_field": "nothing"}),
    (manycall.check_data, ("done.jsonl",), {"near_duplicates": 2}),
    (manycall.dataset_card, ("missing.jsonl",), {}),
    (client, (), {"base_url": "no-url"}),
    (client, (), {"base_url": "sim", "concurrency": 0}),
    (client, (), {"base_url": "sim", "timeout": "8"}),
]


@pytest.mark.parametrize(("function", "arguments", "options"), MISTAKES)
def test_an_error_in_python_names_no_flag_and_no_command(
    function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    if "done.jsonl" in arguments:
        manycall.generate("{{ q }}", ROWS, **{**RUN, "out": "done.jsonl", "base_url": "sim:latency=0"})
    with pytest.raises(manycall.errors.ManycallError) as raised:
        function(*arguments, **options)
    message = str(raised.value)
    assert FLAG.search(message) is None, message
    assert "command" not in message, message


@pytest.mark.parametrize(
    ("function", "wrong", "expected"),
    [
        (manycall.generate, {"reasoning": "seperate"}, "Expected separate or inline or drop."),
        (manycall.generate, {"retry": "failed"}, "Expected truncated."),
        (manycall.generate, {"api": "completion"}, "Expected chat or completions."),
        (manycall.evaluate, {"no_answer": "worng"}, "Expected wrong or exclude."),
    ],
)
def test_a_misspelled_choice_is_refused_before_any_call(
    function: Callable[..., Any], wrong: dict[str, Any], expected: str
) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(manycall.errors.UsageError, match=f"{name}='{value}' is not valid. {expected}"):
        function("wordmath", **RUN, **wrong)
    assert not Path("o.jsonl.run").exists()


STEPS = manycall.steps
TASK = manycall.Task([{"q": "a", "answer": "b"}], "{{ q }}", str.strip, len, params="temperature=0")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "arguments", "wrong", "said"),
    [
        (manycall.generate, ("x",), {"samples": "3"}, "samples= must be a whole number, not '3'"),
        (manycall.generate, ("x",), {"reask": "1"}, "reask= must be a whole number, not '1'"),
        (manycall.generate, ("x",), {"model": ["a", "b"]}, "model= must be a text, not ['a', 'b']"),
        (manycall.generate, ("x",), {"params": ["a=1"]}, "params= must be a mapping of names to values, not ['a=1']"),
        (manycall.generate, ("x",), {"grid_vars": "t=1,2"}, "grid_vars= must be a mapping of names to values"),
        (manycall.evaluate, ("wordmath",), {"samples": 2.5}, "samples= must be a whole number, not 2.5"),
        (manycall.evaluate, (TASK,), {}, "Task.params must be a mapping of names to values, not 'temperature=0'"),
        (manycall.judge, (ROWS, "{{ q }}"), {"scale": (1, 5)}, 'scale= must be a text such as "1-5", not (1, 5)'),
        (manycall.map, (answer, ROWS), {"samples": True}, "samples= must be a whole number, not True"),
        (manycall.embed, (ROWS, "q"), {"dimensions": "8"}, "dimensions= must be a whole number, not '8'"),
        (manycall.run_batch, ([{"custom_id": "a"}],), {}, "requests= must be the path of a file, not [{"),
        (manycall.run_steps, (STEPS.Generate("x"), ROWS), {}, "steps= must be a list of steps or the path of a file"),
        (manycall.run_steps, ([STEPS.Judge("{{ q }}", scale=(1, 9))], ROWS), {}, "Step 1: scale must be a text"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_an_argument_of_a_wrong_type_is_named_before_any_call(
    function: Callable[..., Any], arguments: tuple[Any, ...], wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(manycall.errors.UsageError, match=re.escape(said)):
        function(*arguments, **{**RUN, **wrong})
    assert list(Path().iterdir()) == []


def test_a_client_checks_the_types_of_arguments_too() -> None:
    async def judge() -> None:
        async with manycall.Client("m", base_url="sim") as llm:
            await llm.judge(ROWS, "{{ q }}", scale=(1, 5), out="o.jsonl")  # type: ignore[arg-type]

    with pytest.raises(manycall.errors.UsageError, match="scale= must be a text"):
        run_virtual(judge())
    with pytest.raises(manycall.errors.UsageError, match="params= must be a mapping"):
        manycall.Client("m", base_url="sim", params=["a=1"])  # type: ignore[arg-type]


def test_the_type_of_every_numeric_run_option_is_checked() -> None:
    kinds = {name: set(get_args(kind) or (kind,)) - {type(None)} for name, kind, _, _ in declared_options()}
    assert {name for name, kind in kinds.items() if kind in ({int}, {float})} <= ARGUMENT_TYPES.keys()


def test_the_traceback_of_a_mistake_ends_at_the_call() -> None:
    with pytest.raises(manycall.errors.UsageError) as raised:
        manycall.generate("{{ x }}", ROWS, **RUN)
    assert [entry.frame.code.name for entry in raised.traceback][1:] == ["call"]
    with pytest.raises(manycall.errors.UsageError) as raised:
        manycall.evaluate_all(["nothing"], ["any"], base_url="sim", out="r")
    assert [entry.frame.code.name for entry in raised.traceback][1:] == ["call"]
    with pytest.raises(manycall.errors.UsageError) as raised:
        manycall.embed(ROWS, base_url="sim", model="any", out="vectors.txt")
    assert [entry.frame.code.name for entry in raised.traceback][1:] == ["call"]
    with pytest.raises(TypeError, match=r"map\(\): missing a required argument: 'out'"):
        manycall.map(answer, ROWS, **SIM)


def test_an_error_on_the_command_line_names_the_flag() -> None:
    assert (option("max_cost"), option("overwrite", True)) == ("max_cost=", "overwrite=True")
    assert option("from_", Path("a.jsonl")) == "from_='a.jsonl'"
    assert rerun() == "make the same call again"
    with spelled_as_flags():
        assert rerun() == "rerun the same command"
        with pytest.raises(manycall.errors.UsageError, match="--samples must be at least 1"):
            manycall.generate("x", **{**RUN, "samples": 0})


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the string constants of an expression, except those of `spelled`, which has both spellings."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "spelled"):
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def raised_texts(file: Path) -> list[str]:
    """Return the string constants inside of all `raise` statements."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [text for node in ast.walk(tree) if isinstance(node, ast.Raise) for text in texts(node)]


@pytest.mark.parametrize("folder", sorted(path.name for path in PACKAGE.iterdir() if path.name != "cli"))
def test_no_exception_outside_of_the_command_line_is_raised_with_a_flag_in_its_text(folder: str) -> None:
    path = PACKAGE / folder
    files = [path] if path.suffix == ".py" else path.rglob("*.py")
    assert [text for file in files for text in raised_texts(file) if FLAG.search(text)] == []
