"""Reads a finished row: what it was asked, what it answered, and whether that is whole."""

import re
from collections.abc import Iterator
from typing import Any

from manycall.data.schema import Shape
from manycall.data.templates import BadPrompt, Template
from manycall.errors import UsageError
from manycall.records import Fields, Messages, Row
from manycall.store.output import Output
from manycall.store.parts import PARTS
from manycall.synth.batched import Batched
from manycall.synth.texts import leaves

_FUNCTION = re.compile(r"function \S+( [0-9a-f]{16})?")
"""What a manifest holds of a prompt that is a function."""


class Answers:
    """The answers in the rows of an output, and the prompts that they were given to.

    Args:
        output: what `generate`, `steps` or `run` wrote, or any rows.
        field: the one that holds the answer. None: the one that `generate` wrote, or all those of its schema together,
            as one object; of steps, those of the only one that generates; of a batch, the text of the reply; else
            "text".

    Attributes:
        name: what tables call it.
        fields: those of the row that hold the answer.
    """

    def __init__(self, output: Output, field: str | None = None) -> None:
        self._output, self._known = output, [_Asked(each) for each in _asks(output.identity)]
        asked = [each for each in self._known if field is None or field in each.fields]
        if not asked and "steps" not in output.identity:
            asked = self._known  # a `parse` made another field of it
        self._asked = asked[0] if len(asked) == 1 else None
        self._is_open = len(asked) > 1
        self._fields = self._asked.fields if self._asked is not None and field is None else (field or "text",)
        self._is_object = field is None and self._asked is not None and self._asked.is_object
        is_batch = field is None and output.identity.get("job") == "batch"
        self._batched = Batched(output) if is_batch else None
        self.name = ", ".join(self._fields) if self._batched is None else self._batched.name
        self.fields = self._fields if self._batched is None else ("custom_id", "response", "error")

    def __repr__(self) -> str:
        return f"<Answers {self.name} of {self._output.path.name}>"

    def of(self, row: Fields) -> Any:
        """The answer.

        Raises:
            UsageError: the row has none.
        """
        if self._batched is not None:
            return self._batched.of(row)
        found = {name: row[name] for name in self._fields if name in row}
        return found if self._is_object and found else field_of(row, self._fields[0], ": name one with --field")

    def must_be_text(self, row: Fields) -> None:
        """Check that a conversation can hold the answer: that of a batch may be several, or have tool calls.

        Raises:
            UsageError: it cannot.
        """
        if self._batched is not None:
            self._batched.must_be_text(row)

    def text(self, row: Fields) -> str:
        """All that is in the answer, without its structure, for comparing it with others."""
        answer = self.of(row)
        return answer if isinstance(answer, str) else "\n".join(leaves(answer))

    def is_cut(self, row: Fields) -> bool | None:
        """Whether it was cut at max_tokens; if the row does not say so of this field, whether any answer in it was.
        None: the row tells of none."""
        if self._asked is not None and self._asked.shape is not None:
            return False  # it fits its schema
        own = f"{self._fields[0]}_finish_reason"
        endings = [row[own]] if own in row else list(_endings(row))
        return "length" in endings if endings else None

    def asked(self, row: Fields) -> Messages:
        """What the row was asked: the run's own template is rendered once more; a batch has its file of requests.

        Raises:
            UsageError: that cannot be known.
        """
        if self._batched is not None:
            return self._batched.asked(row)
        asked, why = self._asked, ""
        if self._is_open:
            each = ", ".join(asked.fields[0] for asked in self._known)
            why = f"has several answers ({each}): name one with --field, or the field that holds the question"
        elif asked is None or asked.is_function:
            why = "does not say what was asked: name the field that holds it"
        elif asked.is_raw:
            why = "was asked without a chat: name the field that holds what a user would have said"
        elif (asked.shape is not None and asked.shape.is_list) or ("parse" in self._output.identity and PARTS in row):
            why = "has many rows of one answer, to which the prompt is not that of each: name the field that holds it"
        if asked is None or why:
            raise UsageError(f"{self._output.path} {why} with --prompt")
        try:
            return asked.again(row)
        except BadPrompt as error:
            raise UsageError(f"row {row['id']!r}: {error}") from None


class _Asked:
    """One prompt of a run, made again from the manifest."""

    def __init__(self, identity: Fields) -> None:
        source = identity["prompt"]
        self.is_function = isinstance(source, str) and _FUNCTION.fullmatch(source) is not None
        self.is_raw = identity.get("raw") is True
        self.shape = Shape(identity["schema"]) if "schema" in identity else None
        self.is_object = self.shape is not None and bool(self.shape.fields)
        self.fields = (self.shape.fields if self.shape is not None else ()) or (identity["field"],)
        self._writes = {*self.fields, f"{identity['field']}_finish_reason", "original_id"}
        self._template = Template(source, identity.get("system"))

    def again(self, row: Fields) -> Messages:
        fields = {name: value for name, value in row.items() if name not in self._writes}
        return self._template.messages(Row(str(row["id"]), {**fields, "id": row.get("original_id", row["id"])}))


def _asks(identity: Fields) -> list[Fields]:
    """The prompts whose answers stand in the rows."""
    each = [identity, *(step.get("generate") or {} for step in identity.get("steps", ()))]
    return [asked for asked in each if asked.get("prompt") is not None and "field" in asked]


def _endings(row: Fields) -> Iterator[Any]:
    """Why each answer in a row ended; of a batch's, in the reply."""
    for name, value in row.items():
        if name.endswith("finish_reason"):
            yield value
    match row:
        case {"response": {"body": {"choices": [*choices]}}}:
            yield from (choice.get("finish_reason") for choice in choices)


def field_of(row: Fields, name: str, hint: str = "") -> Any:
    """What a field holds.

    Raises:
        UsageError: there is no such field.
    """
    if name not in row:
        raise UsageError(f"row {row['id']!r} has no field {name!r}{hint} (it has {', '.join(row)})")
    return row[name]
