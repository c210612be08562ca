"""A Jinja template, or a function, makes the messages of a row, whose fields are data and are never themselves read as
templates.
"""

import operator
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import TemplateSyntaxError, UndefinedError

from manycall.data import jinja
from manycall.data.settings import is_file, read_text, settings
from manycall.errors import UsageError
from manycall.records import Messages, Row

Prompt = str | Path | Messages | Callable[[dict[str, Any]], str | Messages]
"""A template's text; a path to one (.j2, .jinja, .txt, .md), or to turns (.toml, .json: a list `messages`); a list of
messages whose contents are templates; or a function of the row's fields."""

_TURNS = (".toml", ".json")
_NAME = re.compile(r"\s*\{\{\s*([^\W\d]\w*)\s*\}\}\s*")
"""A template that is one name, as many are: its value is looked up without Jinja."""
_FILE_ENDINGS = (".j2", ".jinja", ".txt", ".md", *_TURNS)


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
        self.text = as_one_text(self.source)
        self._is_function = callable(prompt)
        self.system_text: str | None = None
        self._system: Callable[[Row], Any] | None = None
        if system is not None:
            self.system_text, self._system = _compile(system, "the system prompt")

    @property
    def names(self) -> set[str]:
        """What it names of the row; a function's are not known."""
        return set().union(*map(jinja.names, self._texts))

    @property
    def _texts(self) -> list[str]:
        return [] if self._is_function else [text for text in (self.text, self.system_text) if text is not None]

    @property
    def is_the_same_for_all(self) -> bool:
        """Whether it names nothing of the row."""
        return not self._is_function and not self.names

    @property
    def needs(self) -> set[str]:
        """The names that every row must have: not those of which it asks whether they are there."""
        return self.names.difference(*map(jinja.asked, self._texts))

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

    def value(self, row: Row) -> Any:
        """What it makes of a row: of an expression alone ("{{ a - b }}") the value, a number say; else the text.

        Raises:
            BadPrompt: as for `messages`.
        """
        return self._value(row)

    @cached_property
    def _value(self) -> Callable[[Row], Any]:
        expression = None if self._is_function else jinja.expression(self.text)
        return self._render if expression is None else _of_row(expression)


def as_one_text(source: str | Messages) -> str:
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
        return text, _only_texts(text, _of_row(jinja.compiled(text)))
    except TemplateSyntaxError as error:
        raise UsageError(f"{what}, line {error.lineno}: {error.message!s:.300}") from None
    except Exception as error:  # too deep for the parser, or for Python's own
        raise UsageError(f"{what} cannot be compiled: {type(error).__name__}: {error!s:.300}") from None


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
    return not any(mark in prompt for mark in " \n{") and (prompt.endswith(_FILE_ENDINGS) or is_file(prompt))


def _of_row(render: jinja.Render) -> Callable[[Row], Any]:
    def function(row: Row) -> Any:
        try:
            return render(row.fields)
        except UndefinedError as error:
            names = ", ".join(sorted(row.fields)) or "no fields"
            raise BadPrompt(f"the prompt does not fit the row: {error}; the row has {names}") from None
        except Exception as error:
            raise BadPrompt(f"the prompt does not fit the row: {type(error).__name__}: {error}") from None

    return function


def _only_texts(text: str, render: Callable[[Row], Any]) -> Callable[[Row], Any]:
    """Refuse a template that is nothing but a list or an object of the row, which would be sent as Python writes it."""
    name = _NAME.fullmatch(text)
    expression = jinja.expression(text) if name is None else operator.methodcaller("get", name[1])
    if expression is None:
        return render
    value = _of_row(expression)

    def function(row: Row) -> Any:
        if isinstance(found := value(row), list | dict | tuple):
            kind = "an object" if isinstance(found, dict) else "a list"
            raise BadPrompt(
                f"the prompt {text.strip()} is {kind}, not a text: name the text in it, as in "
                "{{ messages[-1].content }}, or write it as JSON: {{ messages | tojson }}; a function can send whole "
                "conversations: `manycall run FILE.py:function`"
            )
        return render(row)

    return function


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
