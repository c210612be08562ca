"""A prompt that does not fit a row: which field is missing or null, or why the template fails."""

import re
from collections.abc import Callable
from typing import Any

from jinja2 import UndefinedError

from manycall.data.jinja_sandbox import NullInPrompt, RenderFunction
from manycall.records import Row

_UNDEFINED = re.compile(r"('.+') is undefined")


class PromptError(Exception):
    """The prompt cannot be rendered for a row."""


def rendered_for(render: RenderFunction) -> Callable[[Row], Any]:
    """Return a function of a row that renders its fields, and raises PromptError if that fails."""

    def function(row: Row) -> Any:
        try:
            return render(row.fields)
        except UndefinedError as error:
            raise PromptError(_undefined_message(str(error), row)) from None
        except NullInPrompt:
            raise PromptError(_null_message(row)) from None
        except Exception as error:
            raise PromptError(f"The prompt cannot be rendered for this row: {type(error).__name__}: {error}") from None

    return function


def field_of_row(row: Row, name: str) -> Any:
    """Return the value of a field that the prompt needs.

    Raises:
        PromptError: the row does not have the field.
    """
    if name not in row.fields:
        raise PromptError(_missing(f"the field {name!r}", row))
    return row.fields[name]


def _undefined_message(error: str, row: Row) -> str:
    if match := _UNDEFINED.fullmatch(error):
        return _missing(f"the field {match[1]}", row)
    return f"The prompt cannot be rendered for this row: {error}. {_fields_of(row)}"


def _null_message(row: Row) -> str:
    nulls = sorted(name for name, value in row.fields.items() if value is None)
    fields = f"Its fields that are null: {', '.join(nulls)}." if nulls else _fields_of(row)
    return (
        "The prompt uses a value that is null in this row and would be sent as the word None. "
        f"To send nothing instead: {{{{ {nulls[0] if nulls else 'FIELD'} or '' }}}}. {fields}"
    )


def _missing(what: str, row: Row) -> str:
    return f"The prompt uses {what}, which this row does not have. {_fields_of(row)}"


def _fields_of(row: Row) -> str:
    return f"Its fields: {', '.join(sorted(row.fields)) or 'none'}."
