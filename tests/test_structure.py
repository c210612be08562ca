"""One name, one meaning: no module, class or public function name occurs twice, except for obvious parallels."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "manycall"
PARALLEL_MODULES = {"__init__", "__main__"}
PARALLEL_FUNCTIONS = {
    "convert": "a published row of each benchmark -> a row of its task",
    "decode": "the reply of each API -> a chat completion",
    "encode": "a request -> the body of each API",
    "main": "the entry point of each process",
    "now": "seconds of the real and of the virtual clock",
    "url": "the address of each API",
    "planted": "a right and a wrong response to a row of each benchmark",
}
PARALLEL_CLASSES = {
    "_Content": "typed parts of the body of each API",
    "_Event": "as above",
    "_Reply": "as above",
    "_Usage": "as above",
}
VERBS = PACKAGE / "cli"
"""Its functions have the names of the functions that they call: they are the same verbs."""


def modules() -> Iterator[Path]:
    """Yield every module of the package."""
    yield from sorted(PACKAGE.rglob("*.py"))


def repeated(names: Iterable[tuple[str, Path]], allowed: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return the names that several modules define, with these modules."""
    found = defaultdict(list)
    for name, path in names:
        found[name].append(str(path.relative_to(PACKAGE)))
    return {name: where for name, where in found.items() if len(where) > 1 and name not in allowed}


def test_a_module_name_occurs_once() -> None:
    assert repeated(((path.stem, path) for path in modules()), PARALLEL_MODULES) == {}


def test_a_class_name_has_one_meaning() -> None:
    classes = (
        (node.name, path)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert repeated(classes, PARALLEL_CLASSES) == {}


def test_a_public_function_name_has_one_meaning() -> None:
    functions = (
        (node.name, path)
        for path in modules()
        if path.parent != VERBS or path.stem == "main"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    )
    assert repeated(functions, PARALLEL_FUNCTIONS) == {}


def test_the_list_of_parallels_is_needed() -> None:
    names = [
        node.name
        for path in modules()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert all(names.count(name) > 1 for name in PARALLEL_FUNCTIONS)
