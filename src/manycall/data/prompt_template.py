"""Prompts: a Jinja template, a list of messages or a function, rendered to the messages of a row.

The fields of a row are data and are never interpreted as templates.
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

from manycall.data import jinja_sandbox
from manycall.data.config_files import is_file, read_config, read_text
from manycall.errors import UsageError
from manycall.records import Messages, Row

PromptLike = str | Path | Messages | Callable[[dict[str, Any]], str | Messages]
"""One of: the text of a template; a path to a template (.j2, .jinja, .txt, .md) or to a list `messages` (.toml, .json);
a list of messages whose contents are templates; a function of the row's fields."""

_TURNS = (".toml", ".json")
_NAME = re.compile(r"\s*\{\{\s*([^\W\d]\w*)\s*\}\}\s*")
"""A template that is a single name, as many are. Its value is looked up without Jinja."""
_UNDEFINED = re.compile(r"('.+') is undefined")
_FILE_ENDINGS = (".j2", ".jinja", ".txt", ".md", *_TURNS)


class PromptError(Exception):
    """The prompt cannot be rendered for a row."""


class PromptTemplate:
    """Renders rows to messages.

    Args:
        prompt: the template of the user message, or the templates of all messages, or a function that returns either.
        system: a template for a system message in front of them.

    Attributes:
        source: the text or messages of the template, from which an equal PromptTemplate can be built. For a function,
            a text that identifies it.
        text: `source` as one text, for display.
        system_text: the template of the system message; None if there is none.

    Raises:
        UsageError: the template is not valid, or its file does not exist.
    """

    def __init__(self, prompt: PromptLike, system: str | None = None) -> None:
        self.source, self._render = _compile(prompt, "The prompt")
        self.text = messages_as_text(self.source)
        self._is_function = callable(prompt)
        self.system_text: str | None = None
        self._system: Callable[[Row], Any] | None = None
        if system is not None:
            self.system_text, self._system = _compile(system, "The system prompt")

    @property
    def referenced_fields(self) -> set[str]:
        """Fields that the template refers to; empty for a function, because they are unknown."""
        return set().union(*map(jinja_sandbox.referenced_names, self._texts))

    @property
    def _texts(self) -> list[str]:
        return [] if self._is_function else [text for text in (self.text, self.system_text) if text is not None]

    @property
    def is_constant(self) -> bool:
        """Whether the template refers to no field of the row."""
        return not self._is_function and not self.referenced_fields

    @property
    def required_fields(self) -> set[str]:
        """Fields that every row must have: the referenced ones without those whose absence the template handles."""
        return self.referenced_fields.difference(*map(jinja_sandbox.optional_names, self._texts))

    def __repr__(self) -> str:
        return f"<PromptTemplate {self.text[:60]!r}>"

    def messages(self, row: Row) -> Messages:
        """Return the messages for one row.

        Raises:
            PromptError: the row lacks a field, or the prompt function failed.
        """
        rendered = self._render(row)
        messages = rendered if isinstance(rendered, list) else [{"role": "user", "content": rendered}]
        if self._system is not None:
            return [{"role": "system", "content": self._system(row)}, *messages]
        return messages

    def evaluate(self, row: Row) -> Any:
        """Return the value of a template that is a single expression ("{{ a - b }}" may be a number), else the text.

        Raises:
            PromptError: as for `messages`.
        """
        return self._value(row)

    @cached_property
    def _value(self) -> Callable[[Row], Any]:
        expression = None if self._is_function else jinja_sandbox.compile_expression(self.text)
        return self._render if expression is None else _of_row(expression)


def messages_as_text(source: str | Messages) -> str:
    """Return the source of a prompt as one text, for display."""
    return source if isinstance(source, str) else "\n".join(f"{turn['role']}: {turn['content']}" for turn in source)


def _compile(prompt: PromptLike, what: str) -> tuple[Any, Callable[[Row], Any]]:
    """Return (text or messages that identify the prompt, function that renders it)."""
    if callable(prompt):
        return _source(prompt), _function(prompt)
    if isinstance(prompt, str | Path) and _names_a_file(str(prompt)) and str(prompt).endswith(_TURNS):
        prompt = read_config(Path(prompt)).get("messages") or []
    if isinstance(prompt, list):
        return _turns(prompt, what)
    text = _text(prompt, what)
    try:
        return text, _reject_containers(text, _of_row(jinja_sandbox.compile_template(text)))
    except TemplateSyntaxError as error:
        raise UsageError(f"{what}, line {error.lineno}: {error.message!s:.300}") from None
    except Exception as error:  # nested too deeply for the parser or for Python's compiler
        raise UsageError(f"{what} cannot be compiled: {type(error).__name__}: {error!s:.300}") from None


def _turns(messages: Messages, what: str) -> tuple[Messages, Callable[[Row], Messages]]:
    """Compile the content of each message; its other fields are sent unchanged."""
    if not messages or not all(isinstance(turn.get(key), str) for turn in messages for key in ("role", "content")):
        raise UsageError(f"{what} needs a list of messages, each with a role and a content that are strings.")
    turns = [(turn, *_compile(turn["content"], f"{what}, turn {n}")) for n, turn in enumerate(messages, 1)]

    def function(row: Row) -> Messages:
        return [{**turn, "content": render(row)} for turn, _, render in turns]

    return [{**turn, "content": text} for turn, text, _ in turns], function


def _text(prompt: str | Path, what: str) -> str:
    if not isinstance(prompt, str | Path):
        raise UsageError(f"{what} must be a string, not {type(prompt).__name__}.")
    if not prompt:
        raise UsageError(f"{what} is empty.")
    if isinstance(prompt, str) and not _names_a_file(prompt):
        return prompt
    return read_text(Path(prompt), what)


def _names_a_file(prompt: str) -> bool:
    return not any(mark in prompt for mark in " \n{") and (prompt.endswith(_FILE_ENDINGS) or is_file(prompt))


def _of_row(render: jinja_sandbox.RenderFunction) -> Callable[[Row], Any]:
    def function(row: Row) -> Any:
        try:
            return render(row.fields)
        except UndefinedError as error:
            names = ", ".join(sorted(row.fields)) or "none"
            raise PromptError(f"{_undefined_message(str(error))} Its fields: {names}.") from None
        except Exception as error:
            raise PromptError(f"The prompt cannot be rendered for this row: {type(error).__name__}: {error}") from None

    return function


def _undefined_message(error: str) -> str:
    if match := _UNDEFINED.fullmatch(error):
        return f"The prompt uses the field {match[1]}, which this row does not have."
    return f"The prompt cannot be rendered for this row: {error}."


def _reject_containers(text: str, render: Callable[[Row], Any]) -> Callable[[Row], Any]:
    """Reject a template that is a single list or object of the row, which would be sent in Python's notation."""
    name = _NAME.fullmatch(text)
    expression = jinja_sandbox.compile_expression(text) if name is None else operator.methodcaller("get", name[1])
    if expression is None:
        return render
    value, is_bare = _of_row(expression), name is not None and name[0] == name[0].strip()

    def function(row: Row) -> Any:
        result = value(row)
        if is_bare and type(result) is str and len(result) <= jinja_sandbox.MAX_PROMPT_CHARACTERS:
            return result  # Jinja would return the same text
        if isinstance(result, list | dict | tuple):
            kind = "an object" if isinstance(result, dict) else "a list"
            raise PromptError(
                f"The prompt {text.strip()} is {kind}, not text. Refer to a text in it, for example "
                "{{ messages[-1].content }}, or write it as JSON: {{ messages | tojson }}. To send whole "
                "conversations, use a function: `manycall run FILE.py:function`."
            )
        return render(row)

    return function


def _function(prompt: Callable[[dict[str, Any]], str | Messages]) -> Callable[[Row], str | Messages]:
    def function(row: Row) -> str | Messages:
        try:
            result = prompt(deepcopy(row.fields))
        except Exception as error:  # user code may raise anything; only this row fails
            raise PromptError(f"The prompt function failed: {type(error).__name__}: {error}") from error
        if not isinstance(result, str | list):
            raise PromptError(
                f"The prompt function returned {type(result).__name__}. Expected a string or a list of messages."
            )
        return result

    return function


def _source(function: Callable[..., Any]) -> str:
    """Return a text that identifies a function: its name and a hash of its bytecode, without file, line or comments."""
    name = getattr(function, "__qualname__", type(function).__name__)
    code = getattr(function, "__code__", None)
    return f"function {name} {blake2b(_bytecode(code), digest_size=8).hexdigest()}" if code else f"function {name}"


def _bytecode(code: CodeType) -> bytes:
    return b"\0".join([code.co_code, *map(_constant, code.co_consts), *(name.encode() for name in code.co_names)])


def _constant(value: Any) -> bytes:
    if isinstance(value, CodeType):
        return _bytecode(value)
    if isinstance(value, frozenset):  # its order differs between processes
        return b"\0".join(sorted(map(_constant, value)))
    return repr(value).encode("utf-8", "surrogatepass")
