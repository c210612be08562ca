"""The shape that an answer must have: a JSON schema in a file or a dict, or a Python type (msgspec, pydantic).

It is sent as `response_format`, and what comes back is checked here all the same: servers promise more than they keep.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

import msgspec

from manycall.data.settings import settings
from manycall.errors import UsageError
from manycall.records import UNREADABLE

Schema = str | Path | Mapping[str, Any] | type
"""A file, a JSON schema, or a type: one that msgspec knows, or a pydantic model; list[Struct] and list[Model] too."""
ROWS = "rows"
"""Where the items of a list stand in what is asked for: OpenAI takes no schema whose top is not an object."""
_FENCED = re.compile(r"\s*```\w*\n(.*)\n```\s*", re.DOTALL)
_DEFINITIONS = ("$defs", "definitions", "$schema")
MOST_TOLD = 5
"""Faults that are told of one answer."""


class Shape:
    """A schema, and the check of an answer by it.

    Attributes:
        is_list: its top is an array; each of its items is a row of its own.
        response_format: for the body of a request. `strict`, which makes OpenAI hold the model to it, where it may be.
        fit: checks a JSON value, and returns it as it is to be kept; a ValueError says why it does not fit.
        fields: the names that an answer brings; () if it is no object, or a list of others.

    Raises:
        UsageError: no file, no schema, a type that has none.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema, self.fit = _read(schema)
        self.is_list = self.schema.get("type") == "array"
        one = self.schema.get("items") if self.is_list else self.schema
        self.fields = tuple(_followed(self.schema, one).get("properties", ())) if isinstance(one, Mapping) else ()
        if "id" in self.fields:
            raise UsageError("the schema has a property 'id', which names the row: call it otherwise")
        self._asked = _in_an_object(self.schema) if self.is_list else self.schema
        wanted = {"name": "answer", "schema": self._asked, "strict": all(map(_is_closed, _objects(self._asked)))}
        self.response_format: dict[str, Any] = {"type": "json_schema", "json_schema": wanted}

    def __repr__(self) -> str:
        return f"<Shape {msgspec.json.encode(self.schema)[:80]!r}>"

    @property
    def in_words(self) -> str:
        """For the prompt, where `response_format` is not taken."""
        return f"Answer with JSON only, which fits this JSON schema:\n{msgspec.json.encode(self._asked).decode()}"

    def read(self, text: str) -> Any:
        """What the answer says, as JSON values. A code fence around it does no harm.

        Raises:
            ValueError: it does not fit; the message says why, for the model to read.
        """
        if fenced := _FENCED.fullmatch(text):
            text = fenced[1]
        try:
            value = msgspec.json.decode(text)
        except UNREADABLE as error:
            raise ValueError(f"it is not JSON: {error}") from None
        if self.is_list and isinstance(value, dict) and value.keys() == {ROWS}:
            value = value[ROWS]
        return self.fit(value)


def _read(schema: Schema) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """(the JSON schema, the function that checks a value by it, and returns it as it is to be kept)."""
    if isinstance(schema, str | Path):
        schema = settings(Path(schema))
    if isinstance(schema, Mapping):
        return dict(schema), _validator(dict(schema))
    model: Any = schema
    if _is_pydantic(model):
        from pydantic import TypeAdapter

        adapter = TypeAdapter(model)
        return adapter.json_schema(), partial(_pydantic, adapter)
    try:
        made = msgspec.json.schema(model)
    except (TypeError, RuntimeError) as error:
        raise UsageError(f"the schema {schema!r} is no type that a JSON schema can be made of: {error}") from None
    found = {**_followed(made, made), **{name: made[name] for name in _DEFINITIONS if name in made}}
    return found, lambda value: msgspec.to_builtins(msgspec.convert(value, model), str_keys=True)


def _is_pydantic(kind: Any) -> bool:
    """Whether it is a model of pydantic's, which need not be installed, or a list or the like of such."""
    return hasattr(kind, "model_json_schema") or any(map(_is_pydantic, get_args(kind)))


def _pydantic(adapter: Any, value: Any) -> Any:
    try:
        return adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValueError as error:
        faults = [f"{_at(fault['loc'])}{fault['msg']}" for fault in error.errors()]  # type: ignore[attr-defined]
        raise ValueError("; ".join(faults[:MOST_TOLD])) from None


def _validator(schema: dict[str, Any]) -> Callable[[Any], Any]:
    import jsonschema_rs

    try:
        check = jsonschema_rs.validator_for(schema, retriever=_no_others)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise UsageError(f"the schema is none: {getattr(error, 'message', error)!s:.300}") from None

    def fit(value: Any) -> Any:
        faults = [f"{_at(fault.instance_path)}{fault.message}" for fault in check.iter_errors(value)]
        if faults:
            raise ValueError("; ".join(faults[:MOST_TOLD]))
        return value

    return fit


def _in_an_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: schema[name] for name in _DEFINITIONS if name in schema}
    inner = {name: value for name, value in schema.items() if name not in _DEFINITIONS}
    top = {"type": "object", "properties": {ROWS: inner}, "required": [ROWS], "additionalProperties": False}
    return {**top, **shared}


def _no_others(uri: str) -> Any:
    raise ValueError(f"it refers to {uri}, and no schema is fetched: put it in")


def _at(path: Iterable[str | int]) -> str:
    steps = [f"/{each}" for each in path]
    return f"{''.join(steps)}: " if steps else ""


def _followed(whole: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part, or what it refers to within the whole."""
    for _ in range(10):
        if not str(part.get("$ref", "")).startswith("#/"):
            break
        found: Any = whole
        for step in part["$ref"][2:].split("/"):
            found = found.get(step, {})
        part = found
    return part


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object that a schema describes."""
    if isinstance(schema, dict):
        if "properties" in schema or schema.get("type") == "object":
            yield schema
        for each in schema.values():
            yield from _objects(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _objects(each)


def _is_closed(schema: dict[str, Any]) -> bool:
    """Whether all it may have, it must have."""
    return schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(
        schema.get("properties", ())
    )
