"""Jinja, sandboxed and strict: a name that the row does not have is an error, not an empty string.

A template sees no file, no attribute with an underscore, no key, and changes no row; and what it makes is bounded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

Render = Callable[[Mapping[str, Any]], Any]
"""Makes something of a row's fields. It is code, and fails in as many ways: with any Exception."""
_ASKS_WHETHER = ("defined", "undefined", "default", "d")
MOST_CHARACTERS = 20_000_000
"""Of one prompt: more than any model reads. A loop that was not meant is an error, not the end of the memory."""


class _Jinja(ImmutableSandboxedEnvironment):
    """The sandbox, where `"x" * 10**9` and `9 ** (9 ** 9)` are refused before they are reckoned."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _size(operator, left, right) > MOST_CHARACTERS:
            raise OverflowError(f"{operator} would make more than {MOST_CHARACTERS:,} characters")
        return super().call_binop(context, operator, left, right)


def _size(operator: str, left: Any, right: Any) -> int:
    """About how long the result will be; 0 if that is not known, or is no matter."""
    match operator, left, right:
        case ("*", str() | list() | tuple(), int()):
            return len(left) * right
        case ("*", int(), str() | list() | tuple()):
            return left * len(right)
        case ("**", int(), int()):
            return left.bit_length() * right
    return 0


sandbox = _Jinja(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
del sandbox.globals["lipsum"]  # another text each time: no request would find its answer in the journal


def names(text: str) -> set[str]:
    """What a template names of the row."""
    return find_undeclared_variables(sandbox.parse(text))


def asked(text: str) -> set[str]:
    """Those of which it asks whether the row has them."""
    found = sandbox.parse(text).find_all((nodes.Test, nodes.Filter))
    return {each.node.name for each in found if isinstance(each.node, nodes.Name) and each.name in _ASKS_WHETHER}


def compiled(text: str) -> Render:
    """Renders a template.

    Raises:
        Exception: it is none; of whatever kind, where it is too deep for the parser, or for Python's own.
    """
    template = sandbox.from_string(text)
    template.globals = dict(template.globals)  # a chain of maps, which would be walked along for every row
    plain, pieces = _plain(text), template.generate

    def render(fields: Mapping[str, Any]) -> str:
        if plain is not None and plain.names <= fields.keys():
            return plain.render(fields)
        return "".join(_bounded(pieces(fields)))

    return render


def expression(text: str) -> Render | None:
    """The value of the expression that a template is, if it is nothing but one: "{{ a - b }}"."""
    body, bare = sandbox.parse(text).body, text.strip()
    if len(body) != 1 or not isinstance(body[0], nodes.Output) or not (bare[:2] == "{{" and bare[-2:] == "}}"):
        return None
    if len(body[0].nodes) != 1 or isinstance(body[0].nodes[0], nodes.TemplateData):
        return None
    value = sandbox.compile_expression(bare[2:-2].removeprefix("-").removesuffix("-"), undefined_to_none=False)

    def render(fields: Mapping[str, Any]) -> Any:
        made = value(fields)
        return str(made) if isinstance(made, StrictUndefined) else made  # it raises, and says what there is not

    return render


class _Plain:
    """A template of nothing but text and names, as most are: made without Jinja, at a tenth of its cost."""

    def __init__(self, parts: Sequence[nodes.Expr]) -> None:
        texts = (part.data.replace("%", "%%") if isinstance(part, nodes.TemplateData) else "%s" for part in parts)
        self._format = "".join(texts)
        self._order = [part.name for part in parts if isinstance(part, nodes.Name)]
        self.names = frozenset(self._order)

    def render(self, fields: Mapping[str, Any]) -> str:
        values = tuple([str(fields[name]) for name in self._order])
        if sum(map(len, values)) > MOST_CHARACTERS:
            raise _too_long()
        return self._format % values


def _plain(text: str) -> _Plain | None:
    """The template, if it is so simple."""
    body = sandbox.parse(text).body
    parts = [part for node in body if isinstance(node, nodes.Output) for part in node.nodes]
    simple = all(isinstance(node, nodes.Output) for node in body) and all(
        isinstance(part, nodes.TemplateData) or (isinstance(part, nodes.Name) and part.name != "self") for part in parts
    )
    return _Plain(parts) if simple else None


def _too_long() -> OverflowError:
    return OverflowError(f"it would have more than {MOST_CHARACTERS:,} characters")


def _bounded(pieces: Iterable[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MOST_CHARACTERS:
            raise _too_long()
        yield piece
