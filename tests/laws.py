"""Law 8, checked in the source: no attribute of another object is assigned, and no exception is changed.

Dependencies arrive through constructors and decisions are values. So `x.attr = …` is allowed only where x is `self` or
`cls`. `make check` runs this file; it prints what breaks the law, one place per line.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "manycall"

ALLOWED = {
    "cli/main.py: sys.stdin": "the interpreter's streams, if they are closed",
    "cli/main.py: sys.stdout": "as above",
    "cli/main.py: sys.stderr": "as above",
    "cli/user_code.py: sys.dont_write_bytecode": "the interpreter's setting, restored afterwards",
    "cli/flags.py: command.__signature__": "a decorator: the function is its result",
    "cli/sim_command.py: sim.__signature__": "as above",
    "run/options.py: function.__doc__": "as above",
    "option_flags.py: _Spelling.is_command_line": "one setting of the process, behind a function",
    "data/jinja_sandbox.py: template.globals": "Jinja has no other way",
    "run/row_stream.py: dropped.atexit": "weakref.finalize has no other way",
    "sim/asgi.py: server.should_exit": "uvicorn has no other way",
    "providers/anthropic_reply.py: self._reply": "the reply that the fold owns and assembles",
    "providers/anthropic_reply.py: block": "a part of it",
    "providers/gemini_reply.py: self._reply": "the reply that the fold owns and assembles",
    "providers/gemini_reply.py: reply": "the same",
    "providers/gemini_reply.py: candidate": "a part of it",
    "providers/gemini_reply.py: candidate.content": "a part of it",
    "providers/gemini_reply.py: old": "a part of it",
    "dataset/check_data.py: result": "a result that the module makes and fills in while it reads",
    "dataset/export.py: result": "as above",
}
"""Place → reason. A name without an attribute stands for all its attributes."""


def assigned_attributes(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Yield the attributes that the code assigns, also in a tuple, with an operator, or as a loop variable."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "object.__setattr__"):
            target, name = node.args[:2]
            yield ast.Attribute(target, ast.unparse(name), ast.Store(), lineno=node.lineno)


def caught_names(tree: ast.AST) -> set[str]:
    """Return the names under which the code catches exceptions."""
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name}


def faults(path: str, source: str) -> Iterator[str]:
    """Yield the places of a module that break the law, as `path:line: what`.

    Args:
        path: the module's path under src/manycall.
    """
    tree = ast.parse(source)
    caught = caught_names(tree)
    for target in assigned_attributes(tree):
        owner = ast.unparse(target.value)
        if owner in ("self", "cls") or {f"{path}: {owner}", f"{path}: {owner}.{target.attr}"} & ALLOWED.keys():
            continue
        kind = "changes an exception" if owner in caught else "assigns to another object"
        yield f"{path}:{target.lineno}: {owner}.{target.attr} {kind}"


def unused(modules: dict[str, str]) -> Iterator[str]:
    """Yield the entries of ALLOWED that no module needs any more."""
    found = set[str]()
    for path, source in modules.items():
        for target in assigned_attributes(ast.parse(source)):
            owner = ast.unparse(target.value)
            found |= {f"{path}: {owner}", f"{path}: {owner}.{target.attr}"}
    yield from (f"ALLOWED: {entry} is not needed any more" for entry in ALLOWED if entry not in found)


def check() -> list[str]:
    """Return what breaks the law in the package."""
    modules = {
        path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))
    }
    return [fault for path, source in modules.items() for fault in faults(path, source)] + list(unused(modules))


if __name__ == "__main__":
    found = check()
    print("\n".join(found) or "No attribute of another object is assigned, and no exception is changed.")
    sys.exit(bool(found))
