"""Each function of the Python API takes the run options, in their order, with their defaults, and says so."""

import inspect
import pydoc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import manycall
from manycall.run.options import CONNECTION_OPTIONS, RunOptions, declared_options

JOBS = [
    manycall.generate, manycall.run_steps, manycall.map, manycall.evaluate, manycall.judge, manycall.run_batch,
    manycall.embed,
]  # fmt: skip
CLIENT_JOBS = [manycall.Client.map, manycall.Client.generate, manycall.Client.evaluate, manycall.Client.judge]
MISSING = {
    "judge": {"dry_run"}, "run_batch": {"id_field", "reasoning", "retry"}, "map": {"reasoning", "retry"},
    "run_steps": {"retry"},
    "embed": {
        "cluster", "dry_run", "from_", "idle_timeout", "max_tokens", "processes", "reasoning", "retry", "temperature",
        "thinking",
    },
}  # fmt: skip


def shared(function: Callable[..., Any]) -> dict[str, Any]:
    own = inspect.signature(function).parameters
    return {name: own[name].default for name in own if name in RunOptions.__struct_fields__ and name not in REQUIRED}


REQUIRED = ("model", "out")


@pytest.mark.parametrize("function", [*JOBS, *CLIENT_JOBS], ids=lambda function: str(function.__qualname__))
def test_a_function_takes_every_run_option_with_its_default(function: Callable[..., Any]) -> None:
    left_out = {
        *REQUIRED,
        *MISSING.get(function.__name__, ()),
        *(CONNECTION_OPTIONS if function in CLIENT_JOBS else ()),
    }
    wanted = {name: default for name, _, default, _ in declared_options() if name not in left_out}
    assert list(shared(function).items()) == list(wanted.items())


@pytest.mark.parametrize("function", [*JOBS, *CLIENT_JOBS], ids=lambda function: str(function.__qualname__))
def test_a_docstring_describes_every_run_option(function: Callable[..., Any]) -> None:
    for name, _, _, flag in declared_options():
        if name in inspect.signature(function).parameters:
            assert f"{name}: {flag.help}" in (function.__doc__ or "")


FUNCTIONS = [getattr(manycall, name) for name in manycall.__all__ if inspect.isfunction(getattr(manycall, name))]


@pytest.mark.parametrize("function", [*FUNCTIONS, manycall.Client, *CLIENT_JOBS], ids=lambda each: str(each.__name__))
def test_a_notebook_shows_every_keyword_of_a_function(function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters
    assert not [name for name in parameters if parameters[name].kind is inspect.Parameter.VAR_KEYWORD]
    shown = pydoc.plain(pydoc.render_doc(function))
    assert [name for name in parameters if name not in shown] == []
    assert "(run options)" not in shown


def test_every_option_reaches_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RunOptions] = []
    monkeypatch.setattr(manycall.python_api.dispatch, "run", lambda job, options: seen.append(options))
    given = {
        "model": "m", "out": "o", "base_url": "http://h", "endpoint": "e", "plain_http": True, "concurrency": 3,
        "timeout": 9.0, "idle_timeout": 8.0, "temperature": 0.5, "max_tokens": 7, "params": {"top_p": 1}, "limit": 2,
        "id_field": "name", "drop": ["stop"], "thinking": "off", "reasoning": "drop",
        "max_total_tokens": 5, "max_cost": 1.5, "price": "1/2", "prices": "p.json", "max_time": "3h", "dry_run": True,
        "from_": "old", "retry": "truncated", "processes": 2, "cluster": "auto", "overwrite": True,
        "progress": False,
    }  # fmt: skip
    manycall.generate("{{ name }}", [{"name": "a"}], **given)  # type: ignore[arg-type]
    assert {name: getattr(seen[0], name) for name in given} == given
    assert {*given, "api_key"} == set(RunOptions.__struct_fields__)


def test_the_record_of_options_is_frozen() -> None:
    options = RunOptions(model="m", out="o")
    with pytest.raises(AttributeError):
        options.limit = 3  # type: ignore[misc]
    assert msgspec.structs.replace(options, limit=3).limit == 3
