"""A Jinja template, or a function, makes the messages of a row.

Jinja runs sandboxed and strict: a name that the row does not have is an error, not an empty string. The row's
fields are data and are never themselves read as templates. A template sees no file, no attribute with an underscore,
no key, and changes no row; and what it makes is bounded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from hashlib import blake2b
from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from manycall.data.settings import read_text, settings
from manycall.errors import UsageError
from manycall.records import Messages, Row

Prompt = str | Path | Messages | Callable[[dict[str, Any]], str | Messages]
"""A template's text; a path to one (.j2, .jinja, .txt, .md), or to turns (.toml, .json: a list `messages`); a list of
messages whose contents are templates; or a function of the row's fields."""

_TURNS = (".toml", ".json")
_FILE_ENDINGS = (".j2", ".jinja", ".txt", ".md", *_TURNS)
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


_jinja = _Jinja(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
del _jinja.globals["lipsum"]  # another text each time: no request would find its answer in the journal


class BadPrompt(Exception):
    """The prompt does not fit this row; the message says why."""


class Template:
    """Makes messages of rows.

    Args:
        prompt: becomes the user's message; several turns, or a function that returns such, are the whole messages.
        system: a template for a system message that goes before it.

    Attributes:
        source: what it is made of, files read; a Template of that is the same again. Of a function it only tells one
            from another.
        text: the same as one text, for people. system_text: of the system prompt.

    Raises:
        UsageError: the template does not parse, or its file is not there.
    """

    def __init__(self, prompt: Prompt, system: str | None = None) -> None:
        self.source, self._render = _compile(prompt, "the prompt")
        self.text = as_text(self.source)
        self._is_function = callable(prompt)
        self.system_text: str | None = None
        self._system: Callable[[Row], Any] | None = None
        if system is not None:
            self.system_text, self._system = _compile(system, "the system prompt")

    @property
    def names(self) -> set[str]:
        """What it names of the row; a function's are not known."""
        texts = [] if self._is_function else [text for text in (self.text, self.system_text) if text is not None]
        return set().union(*(find_undeclared_variables(_jinja.parse(text)) for text in texts))

    @property
    def is_the_same_for_all(self) -> bool:
        """Whether it names nothing of the row."""
        return not self._is_function and not self.names

    @property
    def needs(self) -> set[str]:
        """The names that every row must have; none where it asks whether there is one."""
        asks = "defined" in self.text or "default" in self.text
        return set() if asks else self.names

    def __repr__(self) -> str:
        return f"<Template {self.text[:60]!r}>"

    def messages(self, row: Row) -> Messages:
        """The messages for one row.

        Raises:
            BadPrompt: a name the row does not have, or a function that failed.
        """
        made = self._render(row)
        if self._system is not None:
            system = {"role": "system", "content": self._system(row)}
            return [system, *(made if isinstance(made, list) else [{"role": "user", "content": made}])]
        return made if isinstance(made, list) else [{"role": "user", "content": made}]


def as_text(source: str | Messages) -> str:
    """A prompt's source as one text, for people."""
    return source if isinstance(source, str) else "\n".join(f"{turn['role']}: {turn['content']}" for turn in source)


def _compile(prompt: Prompt, what: str) -> tuple[Any, Callable[[Row], Any]]:
    """(what identifies the prompt, a text or turns; the function that renders it)."""
    if callable(prompt):
        return _source(prompt), _function(prompt)
    if isinstance(prompt, str | Path) and _names_a_file(str(prompt)) and str(prompt).endswith(_TURNS):
        prompt = settings(Path(prompt)).get("messages") or []
    if isinstance(prompt, list):
        return _turns(prompt, what)
    text = _text(prompt, what)
    try:
        template = _jinja.from_string(text)
    except TemplateSyntaxError as error:
        raise UsageError(f"{what}, line {error.lineno}: {error.message!s:.300}") from None
    except Exception as error:  # too deep for the parser, or for Python's own
        raise UsageError(f"{what} cannot be compiled: {type(error).__name__}: {error!s:.300}") from None
    template.globals = dict(template.globals)  # a chain of maps, which would be walked along for every row
    return text, _jinja_function(template.generate, _plain(text))


def _turns(messages: Messages, what: str) -> tuple[Messages, Callable[[Row], Messages]]:
    """Several turns, each with a template; whatever else a message holds goes along as it is."""
    if not messages or not all(isinstance(turn.get(key), str) for turn in messages for key in ("role", "content")):
        raise UsageError(f"{what} needs messages, each with a role and a content, which are texts")
    turns = [(turn, *_compile(turn["content"], f"{what}, turn {n}")) for n, turn in enumerate(messages, 1)]

    def function(row: Row) -> Messages:
        return [{**turn, "content": render(row)} for turn, _, render in turns]

    return [{**turn, "content": text} for turn, text, _ in turns], function


def _text(prompt: str | Path, what: str) -> str:
    if not isinstance(prompt, str | Path):
        raise UsageError(f"{what} must be a text, not {type(prompt).__name__}")
    if not prompt:
        raise UsageError(f"{what} is empty")
    if isinstance(prompt, str) and not _names_a_file(prompt):
        return prompt
    return read_text(Path(prompt), what)


def _names_a_file(prompt: str) -> bool:
    if any(mark in prompt for mark in " \n{"):
        return False
    try:
        return prompt.endswith(_FILE_ENDINGS) or Path(prompt).is_file()
    except OSError:  # too long for a name: Chinese is written without spaces
        return False


def _jinja_function(pieces: Callable[..., Iterable[str]], plain: "_Plain | None") -> Callable[[Row], str]:
    def function(row: Row) -> str:
        try:
            if plain is not None and plain.names <= row.fields.keys():
                return plain.render(row.fields)
            return "".join(_bounded(pieces(row.fields)))
        except Exception as error:  # a template is code, and fails in as many ways
            raise BadPrompt(f"the prompt does not fit the row: {_reason(error, row.fields)}") from None

    return function


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
    body = _jinja.parse(text).body
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


def _reason(error: Exception, fields: Mapping[str, Any]) -> str:
    names = ", ".join(sorted(fields)) or "no fields"
    if isinstance(error, UndefinedError):
        return f"{error}; the row has {names}"
    return f"{type(error).__name__}: {error}"


def _function(prompt: Callable[[dict[str, Any]], str | Messages]) -> Callable[[Row], str | Messages]:
    def function(row: Row) -> str | Messages:
        try:
            made = prompt(deepcopy(row.fields))
        except Exception as error:  # the user's own code: whatever it raises is this row's failure
            raise BadPrompt(f"the prompt function failed: {type(error).__name__}: {error}") from error
        if not isinstance(made, str | list):
            raise BadPrompt(f"the prompt function returned {type(made).__name__}, not a text or a list of messages")
        return made

    return function


def _source(function: Callable[..., Any]) -> str:
    """What tells one function from another: its name and what it compiles to; not its place, nor its comments."""
    name = getattr(function, "__qualname__", type(function).__name__)
    code = getattr(function, "__code__", None)
    return f"function {name} {blake2b(_meaning(code), digest_size=8).hexdigest()}" if code else f"function {name}"


def _meaning(code: CodeType) -> bytes:
    return b"\0".join([code.co_code, *map(_constant, code.co_consts), *(name.encode() for name in code.co_names)])


def _constant(value: Any) -> bytes:
    if isinstance(value, CodeType):
        return _meaning(value)
    if isinstance(value, frozenset):  # whose order is another one in every process
        return b"\0".join(sorted(map(_constant, value)))
    return repr(value).encode("utf-8", "surrogatepass")
