"""Which small columns of a file are indexed, and what each field is: question, answer, score, ending.

Only the first 500 rows are examined. The role of a field follows from the settings of the run, or from the names that
manycall and lm-eval use.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from manycall.view.row_values import flat_values

SAMPLE_ROWS = 500
MAX_COLUMNS = 24
MAX_FIELDS = 300
"""Further fields are shown in their rows, but cannot be filtered."""
MAX_CATEGORY_CHARACTERS, MAX_CATEGORIES = 64, 200
ColumnType = Literal["text", "category", "number", "boolean"]
Derivation = Literal["value", "length", "ending", "prompt_tokens", "completion_tokens", "flipped"]
ENDING = "finish_reason"
ROLES_BY_NAME = {
    "id": "id", "custom_id": "id", "doc_id": "id",
    "question": "question", "prompt": "question", "instruction": "question", "doc.question": "question",
    "row.question": "question", "doc.problem": "question", "problem": "question",
    "response": "answer", "resps": "answer", "last_text": "answer",
    "answer": "target", "target": "target",
    ENDING: "ending", "kind": "ending", "reason": "ending",
}  # fmt: skip
"""Flat name -> role, unless the settings of the run say otherwise."""


class Field(NamedTuple):
    """A field of the rows.

    Attributes:
        name: its flat name.
        role: what it is; "" if that is not known.
        type: `category` is a text with few values.
    """

    name: str
    role: str
    type: ColumnType


class Column(NamedTuple):
    """A small column in the index.

    Attributes:
        name: as in filters; `answer.len` is derived from a field.
        source: flat name of the field.
        derivation: how the value is derived from the field.
    """

    name: str
    source: str
    type: ColumnType
    derivation: Derivation = "value"


class Layout(NamedTuple):
    """The fields of a file and its columns.

    Attributes:
        roles: role -> flat name of the first field with this role.
    """

    fields: list[Field]
    columns: list[Column]
    roles: dict[str, str]

    def field(self, name: str) -> Field | None:
        """Return the field with a flat name; None if the first rows have none."""
        return next((field for field in self.fields if field.name == name), None)


def file_layout(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], file: str) -> Layout:
    """Return what is known of the fields of a file.

    Args:
        rows: the first rows, without damaged ones.
        settings: the settings of the run; empty for other files.
        file: the word for the file (`out`, `calls`, ...).
    """
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in flat_values(row):
            if name in values or len(values) < MAX_FIELDS:
                values.setdefault(name, []).append(value)
    named = _roles(settings) if file == "out" else {}
    fields = [Field(name, _role(name, each, named), _type(each)) for name, each in values.items()]
    roles: dict[str, str] = {}
    for field in fields:
        if field.role and (field.role not in roles or field.name in named):
            roles[field.role] = field.name
    return Layout(fields, list(_columns(fields, roles, file))[:MAX_COLUMNS], roles)


def _roles(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the roles that the settings of a run give to its fields."""
    job, field = str(settings.get("job", "")).partition(" ")[0], settings.get("output_field")
    if not isinstance(field, str) or not field:
        return {}
    ending = {f"{field}_{ENDING}": "ending", f"{field}_reasoning": "reasoning"}
    if job == "judge":
        return {f"{field}.verdict": "verdict", f"{field}.score": "score", f"{field}.replies": "replies", **ending}
    return {field: "answer", **ending}


def _role(name: str, values: Iterable[Any], named: Mapping[str, str]) -> str:
    if name in named:
        return named[name]
    if name.startswith("score.") or (name in ("score", "exact_match", "acc") and _type(values) == "number"):
        return "score"
    if name.startswith("extracted.") or name == "filtered_resps":
        return "extracted"
    return "reasoning" if name.endswith("_reasoning") else ROLES_BY_NAME.get(name, "")


def _type(values: Iterable[Any]) -> ColumnType:
    """Return the type that the values of a field have, apart from missing ones."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, bool) for value in present):
        return "boolean"
    if present and all(isinstance(value, int | float) for value in present):
        return "number"
    short = all(
        isinstance(value, str | int | float) and len(str(value)) <= MAX_CATEGORY_CHARACTERS for value in present
    )
    return "category" if short and len({str(value) for value in present}) < MAX_CATEGORIES else "text"


def _columns(fields: Sequence[Field], roles: Mapping[str, str], file: str) -> Iterable[Column]:
    """Yield the built-in columns, then the small fields. A field goes before a built-in column of the same name."""
    own = {field.name for field in fields}
    named = (each if each.name not in own else each._replace(name=each.source) for each in _built_in(roles, file))
    built_in = [each for each in named if each.name not in own or each.derivation == "value"]
    yield from built_in
    taken = {"key", *(each.source for each in built_in if each.derivation == "value")}
    small = [field for field in fields if field.type != "text" and field.name not in taken]
    for field in sorted(small, key=lambda field: not field.role):  # those with a role first
        yield Column(field.name, field.name, field.type)


def _built_in(roles: Mapping[str, str], file: str) -> Iterable[Column]:
    if "id" in roles:
        yield Column("id", roles["id"], "text")
    if "ending" in roles:
        yield Column("ending", roles["ending"], "category")
    for role in ("answer", "question"):
        if role in roles:
            yield Column(f"{role}.len", roles[role], "number", "length")
    if file == "calls":
        yield Column("ending", "body", "category", "ending")
        yield Column("prompt_tokens", "body", "number", "prompt_tokens")
        yield Column("completion_tokens", "body", "number", "completion_tokens")
    if "replies" in roles:
        yield Column("flipped", roles["replies"], "boolean", "flipped")
