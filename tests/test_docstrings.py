"""What the docstrings of the public names promise: their examples run, and the names in them exist."""

import doctest
import inspect
import re
from typing import Any

import pytest

import manycall

PUBLIC = {name: getattr(manycall, name) for name in manycall.__all__}
SUBMODULES = {name: getattr(manycall, name) for name in ("errors", "results", "steps", "testing")}
METHODS = {
    f"{name}.{method}": value
    for name, owner in PUBLIC.items()
    if inspect.isclass(owner)
    for method, value in vars(owner).items()
    if not method.startswith("_") and inspect.isfunction(value)
}
DOCUMENTED = {
    name: value
    for name, value in {**PUBLIC, **METHODS}.items()
    if inspect.getdoc(value) and getattr(value, "__module__", "").startswith("manycall.")
}


def doc(value: Any) -> str:
    return inspect.getdoc(value) or ""


def explained(value: Any, section: str) -> set[str]:
    """The names at the beginnings of the lines of a section: `rows: ...` or `stderr, count: ...`."""
    body = doc(value).partition(f"\n{section}:\n")[2].partition("\n\n")[0]
    return {name for names in re.findall(r"^    (\w+(?:, \w+)*): ", body, re.M) for name in names.split(", ")}


def attributes(value: type) -> set[str]:
    """What an instance has: fields, methods, and what `__init__` sets."""
    fields = {name for cls in value.__mro__ for name in vars(cls).get("__annotations__", {})}
    constructor = vars(value).get("__init__")
    init = inspect.getsource(constructor) if inspect.isfunction(constructor) else ""
    return fields | set(dir(value)) | set(re.findall(r"self\.(\w+)", init))


@pytest.mark.parametrize("name", [name for name, value in DOCUMENTED.items() if ">>>" in doc(value)])
def test_the_examples_in_a_docstring_run(name: str) -> None:
    examples = doctest.DocTestParser().get_doctest(doc(DOCUMENTED[name]), {"manycall": manycall}, name, None, None)
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    assert runner.run(examples, out=output.append).failed == 0, "".join(output)


def test_every_entry_point_has_an_example() -> None:
    for name in ("generate", "map", "evaluate", "export", "Client", "Task"):
        assert ">>>" in doc(DOCUMENTED[name]), name


@pytest.mark.parametrize("name", DOCUMENTED)
def test_names_of_the_package_in_a_docstring_exist_right_after_import(name: str) -> None:
    for path in re.findall(r"`manycall\.([\w.]+)`", doc(DOCUMENTED[name])):
        first, *others = path.split(".")
        value = PUBLIC.get(first) or SUBMODULES[first]  # another submodule is an attribute only once it is imported
        for other in others:
            value = getattr(value, other)


@pytest.mark.parametrize("name", [name for name, value in DOCUMENTED.items() if "Args:" in doc(value)])
def test_arguments_named_in_a_docstring_exist(name: str) -> None:
    assert explained(DOCUMENTED[name], "Args") - {"options"} <= set(inspect.signature(DOCUMENTED[name]).parameters)


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if "Attributes:" in doc(value)])
def test_attributes_named_in_a_docstring_exist(name: str) -> None:
    assert explained(PUBLIC[name], "Attributes") <= attributes(PUBLIC[name])
