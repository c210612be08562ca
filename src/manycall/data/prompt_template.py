"""Prompts: a Jinja template, a list of messages or a function, rendered to the messages of a row.

The fields of a row are data and are never interpreted as templates.
"""

import operator
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateSyntaxError

from manycall.data import jinja_sandbox
from manycall.data.config_files import is_file, read_config, read_text
from manycall.data.content_parts import (
    image_fields_in,
    image_part,
    is_image_part,
    messages_as_text,
    parts_in,
    templates_in,
)
from manycall.data.conversations import is_conversation
from manycall.data.function_identity import function_identity
from manycall.data.prompt_error import PromptError, field_of_row, rendered_for
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Message, Messages, Row

PromptLike = str | Path | Messages | Callable[[dict[str, Any]], str | Messages]
"""One of: the text of a template; a path to a template (.j2, .jinja, .txt, .md) or to a list `messages` (.toml, .json);
a list of messages whose contents are templates; a function of the row's fields."""

_TURNS = (".toml", ".json")
_NAME = re.compile(r"\s*\{\{\s*([^\W\d]\w*)\s*\}\}\s*")
"""A template that is a single name, as many are. Its value is looked up without Jinja."""
_FILE_ENDINGS = (".j2", ".jinja", ".txt", ".md", *_TURNS)


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
        self._templates = [] if callable(prompt) else list(templates_in(self.source))
        self._is_function = callable(prompt)
        self.system_text: str | None = None
        self._system: Callable[[Row], Any] | None = None
        if system is not None:
            self.system_text, self._system = _compile(system, "The system prompt")

    @property
    def referenced_fields(self) -> set[str]:
        """Fields that the template refers to; empty for a function, because they are unknown."""
        return set(image_fields_in(self.source)).union(*map(jinja_sandbox.referenced_names, self._texts))

    @property
    def _texts(self) -> list[str]:
        return [*self._templates, *([] if self._is_function or self.system_text is None else [self.system_text])]

    @property
    def may_have_images(self) -> bool:
        """Whether messages may have image parts, which `load_images` must replace."""
        return self._is_function or any(map(is_image_part, parts_in(self.source)))

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
        messages = [{"role": "user", "content": rendered}] if isinstance(rendered, str) else rendered
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
        return self._render if expression is None else rendered_for(expression)


def _compile(prompt: PromptLike, what: str) -> tuple[Any, Callable[[Row], Any]]:
    """Return (text or messages that identify the prompt, function that renders it)."""
    if callable(prompt):
        return function_identity(prompt), _function(prompt)
    if isinstance(prompt, str | Path) and _names_a_file(str(prompt)) and str(prompt).endswith(_TURNS):
        prompt = read_config(Path(prompt)).get("messages") or []
    if isinstance(prompt, list):
        return _turns(prompt, what)
    return _template(_text(prompt, what), what)


def _template(text: str, what: str) -> tuple[str, Callable[[Row], Any]]:
    try:
        return text, _reject_containers(text, rendered_for(jinja_sandbox.compile_template(text)))
    except TemplateSyntaxError as error:
        raise UsageError(f"{what}, line {error.lineno}: {error.message!s:.300}") from None
    except Exception as error:  # nested too deeply for the parser or for Python's compiler
        raise UsageError(f"{what} cannot be compiled: {type(error).__name__}: {error!s:.300}") from None


def _turns(messages: Messages, what: str) -> tuple[Messages, Callable[[Row], Messages]]:
    """Compile the content of each message; its other fields are sent unchanged."""
    if not messages or not all(
        isinstance(turn, dict) and isinstance(turn.get("role"), str) and turn.get("content") for turn in messages
    ):
        raise UsageError(f"{what} needs a list of messages, each with a role and a content.")
    turns = [(turn, *_content(turn["content"], f"{what}, turn {n}")) for n, turn in enumerate(messages, 1)]

    def function(row: Row) -> Messages:
        return [{**turn, "content": render(row)} for turn, _, render in turns]

    return [{**turn, "content": source} for turn, source, _ in turns], function


def _content(content: Any, what: str) -> tuple[Any, Callable[[Row], Any]]:
    """Compile the content of a message: a template, or a list of parts."""
    if not isinstance(content, list):
        return _compile(content, what)
    parts = [_part(part, f"{what}, part {n}") for n, part in enumerate(content, 1)]
    return [source for source, _ in parts], lambda row: [render(row) for _, render in parts]


def _part(part: Message, what: str) -> tuple[Message, Callable[[Row], Message]]:
    """Compile a part of a message: a text, or an image from a field, a path or a URL."""
    match part:
        case {"type": "text", "text": str(template)}:
            source, render = _compile(template, what)
            return {**part, "text": source}, lambda row: {**part, "text": render(row)}
        case {"type": "image", "field": str(name), **others}:
            return part, lambda row: {**image_part(field_of_row(row, name)), **others}
        case {"type": "image", "image": str(template)}:
            _, render = _template(template, what)
            return part, lambda row: {**part, "image": render(row)}
        case {"type": "image_url", "image_url": {"url": str(template)} as image}:
            _, render = _template(template, what)
            return part, lambda row: {**part, "image_url": {**image, "url": render(row)}}
    raise UsageError(
        f'{what} is not valid. Expected {{type = "text", text = "..."}}, {{type = "image", field = "photo"}} or '
        f'{{type = "image", image = "{{{{ path }}}}"}}.'
    )


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


def _reject_containers(text: str, render: Callable[[Row], Any]) -> Callable[[Row], Any]:
    """Reject a template that is a single list or object of the row, which would be sent in Python's notation."""
    name = _NAME.fullmatch(text)
    expression = jinja_sandbox.compile_expression(text) if name is None else operator.methodcaller("get", name[1])
    if expression is None:
        return render
    value, field = rendered_for(expression), name[1] if name is not None and name[0] == name[0].strip() else None

    def function(row: Row) -> Any:
        if field is not None:
            found = row.fields.get(field)
            if type(found) is str and len(found) <= jinja_sandbox.MAX_PROMPT_CHARACTERS:
                return found  # Jinja would return the same text
        result = value(row)
        if isinstance(result, list | dict | tuple):
            raise PromptError(_not_text(text.strip(), result))
        return render(row)

    return function


def _not_text(template: str, value: Any) -> str:
    """Return what to do about a template that is a list or an object."""
    kind, advice = "an object" if isinstance(value, dict) else "a list", ""
    if is_conversation(value):
        name = template.strip("{} ")
        option_text = option("messages", name if name.isidentifier() else "FIELD")
        advice = f" To send it as the messages of the call: {option_text}."
    return (
        f"The prompt {template} is {kind}, not text. Name a text in it, for example {{{{ messages[-1].content }}}}, "
        f"or write it as JSON: {{{{ messages | tojson }}}}.{advice}"
    )


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
