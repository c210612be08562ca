"""The sandboxed, strict and bounded Jinja environment: a field that is null or that the row does not have is an error.

A template cannot read files, attributes that start with an underscore or API keys, and cannot change rows. The length
of its result is limited.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

RenderFunction = Callable[[Mapping[str, Any]], Any]
"""Renders the fields of a row. Because templates are code, it may raise any Exception."""
_OPTIONAL_TESTS = ("defined", "undefined", "default", "d")
MAX_PROMPT_CHARACTERS = 20_000_000
"""Maximum length of a prompt, which is more than any model accepts. It stops a runaway loop before memory is full."""


class NullInPrompt(Exception):
    """A template prints null, which Jinja would print as the word None."""


def _printable(value: Any) -> Any:
    if value is None:
        raise NullInPrompt
    if callable(value) and not isinstance(value, StrictUndefined):
        raise TypeError(f"{value!r:.80} is a function, not a value; a field is read with ['name'] instead of .name")
    return value


class _Jinja(ImmutableSandboxedEnvironment):
    """A sandbox that rejects `"x" * 10**9` and `9 ** (9 ** 9)` before they are computed."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _size(operator, left, right) > MAX_PROMPT_CHARACTERS:
            raise OverflowError(f"{operator} would produce more than {MAX_PROMPT_CHARACTERS:,} characters")
        return super().call_binop(context, operator, left, right)


def _size(operator: str, left: Any, right: Any) -> int:
    """Return the approximate length of a result; 0 if it is unknown or certainly small."""
    match operator, left, right:
        case ("*", str() | list() | tuple(), int()):
            return len(left) * right
        case ("*", int(), str() | list() | tuple()):
            return left * len(right)
        case ("**", int(), int()):
            return left.bit_length() * right
    return 0


@cache
def _environment(fields: frozenset[str]) -> _Jinja:
    """Return an environment without Jinja's functions that have the names of fields."""
    made = _Jinja(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=_printable)
    for name in {"lipsum", *fields}:  # lipsum is random text, so no request could be replayed from the journal
        del made.globals[name]
    return made


ENVIRONMENT = _environment(frozenset())


def _environment_of(text: str) -> _Jinja:
    """Return the environment of a template, in which `range` or `dict` is a function if all its uses are calls."""
    tree = ENVIRONMENT.parse(text)
    names = Counter(each.name for each in tree.find_all(nodes.Name) if each.name in ENVIRONMENT.globals)
    calls = Counter(each.node.name for each in tree.find_all(nodes.Call) if isinstance(each.node, nodes.Name))
    return _environment(frozenset(names - calls))


def referenced_names(text: str) -> set[str]:
    """Return the fields that a template refers to."""
    return find_undeclared_variables(_environment_of(text).parse(text))


def optional_names(text: str) -> set[str]:
    """Return the fields for which a template handles absence, by `is defined` or `default`."""
    checks = ENVIRONMENT.parse(text).find_all((nodes.Test, nodes.Filter))
    return {each.node.name for each in checks if isinstance(each.node, nodes.Name) and each.name in _OPTIONAL_TESTS}


def compile_template(text: str) -> RenderFunction:
    """Compile a template to a function that renders it.

    Raises:
        TemplateSyntaxError: the template is not valid.
        Exception: of any type, if the template is nested too deeply for the parser or for Python's compiler.
    """
    template = _environment_of(text).from_string(text)
    template.globals = dict(template.globals)  # a plain dict; looking names up in a ChainMap for every row is slower
    simple, pieces = _simple_template(text), template.generate
    if simple is not None and not simple.referenced_names:
        constant = simple.render({})
        return lambda fields: constant

    def render(fields: Mapping[str, Any]) -> str:
        if simple is not None and simple.referenced_names <= fields.keys():
            return simple.render(fields)
        return "".join(_bounded(pieces(fields)))

    return render


def compile_expression(text: str) -> RenderFunction | None:
    """Compile a template that is a single expression, such as "{{ a - b }}", to a function that returns its value.

    Returns None for any other template.
    """
    body, bare = ENVIRONMENT.parse(text).body, text.strip()
    if len(body) != 1 or not isinstance(body[0], nodes.Output) or not (bare[:2] == "{{" and bare[-2:] == "}}"):
        return None
    if len(body[0].nodes) != 1 or isinstance(body[0].nodes[0], nodes.TemplateData):
        return None
    expression = bare[2:-2].removeprefix("-").removesuffix("-")
    value = _environment_of(text).compile_expression(expression, undefined_to_none=False)

    def render(fields: Mapping[str, Any]) -> Any:
        result = value(fields)
        if isinstance(result, StrictUndefined):
            return str(result)  # raises and names the field
        return None if result is None else _printable(result)

    return render


class _SimpleTemplate:
    """A template that consists of text and names only, as most do. It is rendered without Jinja, ten times as fast."""

    def __init__(self, parts: Sequence[nodes.Expr]) -> None:
        texts = (part.data.replace("%", "%%") if isinstance(part, nodes.TemplateData) else "%s" for part in parts)
        self._format = "".join(texts)
        self._order = [part.name for part in parts if isinstance(part, nodes.Name)]
        self.referenced_names = frozenset(self._order)

    def render(self, fields: Mapping[str, Any]) -> str:
        values = tuple([str(_printable(fields[name])) for name in self._order])
        if sum(map(len, values)) > MAX_PROMPT_CHARACTERS:
            raise _too_long()
        return self._format % values


def _simple_template(text: str) -> _SimpleTemplate | None:
    """Return the template as a _SimpleTemplate; None if it is more complex."""
    body = ENVIRONMENT.parse(text).body
    parts = [part for node in body if isinstance(node, nodes.Output) for part in node.nodes]
    simple = all(isinstance(node, nodes.Output) for node in body) and all(
        isinstance(part, nodes.TemplateData) or (isinstance(part, nodes.Name) and part.name != "self") for part in parts
    )
    return _SimpleTemplate(parts) if simple else None


def _too_long() -> OverflowError:
    return OverflowError(f"the result would exceed {MAX_PROMPT_CHARACTERS:,} characters")


def _bounded(pieces: Iterable[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_PROMPT_CHARACTERS:
            raise _too_long()
        yield piece
