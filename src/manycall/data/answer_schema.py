"""Structured output: a JSON schema from a file, a dict or a Python type (msgspec, pydantic).

The schema is sent as `response_format`. The answer is validated here anyway, because some servers accept the parameter
and do not enforce it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

import msgspec

from manycall.data.config_files import read_config
from manycall.data.json_search import JsonAnswer, read_json
from manycall.errors import UsageError

SchemaLike = str | Path | Mapping[str, Any] | type
"""A path, a JSON schema, a type that msgspec supports, a pydantic model, or a list of either (list[Model])."""
LIST_PROPERTY = "rows"
"""Property that contains the items of a list in the requested object: OpenAI only accepts an object at the top."""
_DEFINITIONS = ("$defs", "definitions", "$schema")
MAX_ERRORS_SHOWN = 5
"""Number of validation errors that are reported per answer."""


class AnswerSchema:
    """A JSON schema and the validation of answers against it.

    Attributes:
        schema: the JSON schema.
        is_list: the top level is an array; each of its items becomes an output row.
        response_format: for the request body. It sets `strict`, which makes OpenAI enforce the schema, if the schema
            meets OpenAI's conditions for it.
        validate: returns the value to store for a JSON value; raises ValueError with the reasons if it is invalid.
        fields: property names of the answer object, or of the items of a list; () if they are not objects.

    Raises:
        UsageError: the file does not exist, the schema is not valid, or the type cannot be converted to a schema.
    """

    def __init__(self, schema: SchemaLike) -> None:
        self.schema, self.validate = _read(schema)
        self.is_list = self.schema.get("type") == "array"
        item = self.schema.get("items") if self.is_list else self.schema
        self.fields = tuple(_resolve_ref(self.schema, item).get("properties", ()))
        if "id" in self.fields:
            raise UsageError("The schema has a property 'id', which is reserved for the row id. Rename it.")
        self._requested = _in_an_object(self.schema) if self.is_list else self.schema
        json_schema = {
            "name": "answer",
            "schema": self._requested,
            "strict": all(map(_is_strict, _objects(self._requested))),
        }
        self.response_format: dict[str, Any] = {"type": "json_schema", "json_schema": json_schema}

    def __repr__(self) -> str:
        return f"<AnswerSchema {msgspec.json.encode(self.schema)[:80]!r}>"

    @property
    def as_instruction(self) -> str:
        """Instruction for the prompt, for servers that do not support `response_format`."""
        return f"Answer with JSON only, which fits this JSON schema:\n{msgspec.json.encode(self._requested).decode()}"

    def parse(self, text: str) -> JsonAnswer[Any]:
        """Return the JSON value in an answer (data/json_search.py).

        Raises:
            ValueError: the answer is not valid; the message gives the reasons and is sent to the model.
        """
        return read_json(text, self._accept)

    def _accept(self, value: Any) -> Any:
        if self.is_list and isinstance(value, dict) and value.keys() == {LIST_PROPERTY}:
            value = value[LIST_PROPERTY]
        return self.validate(value)


def _read(schema: SchemaLike) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """Return (JSON schema, function that validates a value and returns the value to store)."""
    if isinstance(schema, str | Path):
        schema = read_config(Path(schema))
    if isinstance(schema, Mapping):
        return dict(schema), _validator(dict(schema))
    model: Any = schema
    if _is_pydantic(model):
        from pydantic import TypeAdapter

        adapter = TypeAdapter(model)
        return adapter.json_schema(), partial(_pydantic, adapter)
    try:
        generated = msgspec.json.schema(model)
    except (TypeError, RuntimeError) as error:
        raise UsageError(f"The type {schema!r} cannot be converted to a JSON schema: {error}") from None
    top = _resolve_ref(generated, generated)
    definitions = {name: generated[name] for name in _DEFINITIONS if name in generated}
    return {**top, **definitions}, lambda value: msgspec.to_builtins(msgspec.convert(value, model), str_keys=True)


def _is_pydantic(kind: Any) -> bool:
    """Return whether a type is a pydantic model or contains one, as list[Model] does. Does not import pydantic."""
    return hasattr(kind, "model_json_schema") or any(map(_is_pydantic, get_args(kind)))


def _pydantic(adapter: Any, value: Any) -> Any:
    try:
        return adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValueError as error:
        problems = [f"{_location(each['loc'])}{each['msg']}" for each in error.errors()]  # type: ignore[attr-defined]
        raise ValueError("; ".join(problems[:MAX_ERRORS_SHOWN])) from None


def _validator(schema: dict[str, Any]) -> Callable[[Any], Any]:
    import jsonschema_rs

    try:
        check = jsonschema_rs.validator_for(schema, retriever=_refuse_reference)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise UsageError(f"Not a valid JSON Schema: {getattr(error, 'message', error)!s:.300}") from None

    def validate(value: Any) -> Any:
        problems = [f"{_location(each.instance_path)}{each.message}" for each in check.iter_errors(value)]
        if problems:
            raise ValueError("; ".join(problems[:MAX_ERRORS_SHOWN]))
        return value

    return validate


def _in_an_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: schema[name] for name in _DEFINITIONS if name in schema}
    inner = {name: value for name, value in schema.items() if name not in _DEFINITIONS}
    top = {
        "type": "object",
        "properties": {LIST_PROPERTY: inner},
        "required": [LIST_PROPERTY],
        "additionalProperties": False,
    }
    return {**top, **shared}


def _refuse_reference(uri: str) -> Any:
    raise ValueError(f"The schema refers to {uri}. Remote references are not loaded; inline it.")


def _location(path: Iterable[str | int]) -> str:
    steps = [f"/{each}" for each in path]
    return f"{''.join(steps)}: " if steps else ""


def _resolve_ref(whole: Mapping[str, Any], part: Any) -> Mapping[str, Any]:
    """Return a part of a schema, with its `$ref` to another part resolved. A schema may be `true`, which is {} here."""
    for _ in range(10):
        if not isinstance(part, Mapping) or not str(part.get("$ref", "")).startswith("#/"):
            break
        target: Any = whole
        for step in part["$ref"][2:].split("/"):
            target = _step_into(target, step)
        part = target
    return part if isinstance(part, Mapping) else {}


def _step_into(value: Any, step: str) -> Any:
    """Return the member of an object or of a list that one step of a JSON pointer names; {} if there is none."""
    if isinstance(value, list):
        return value[int(step)] if step.isdecimal() and int(step) < len(value) else {}
    return value.get(step, {}) if isinstance(value, Mapping) else {}


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object schema within a schema."""
    if isinstance(schema, dict):
        if "properties" in schema or schema.get("type") == "object":
            yield schema
        for each in schema.values():
            yield from _objects(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _objects(each)


def _is_strict(schema: dict[str, Any]) -> bool:
    """Return whether every property is required and no others are allowed, as OpenAI's `strict` demands."""
    return schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(
        schema.get("properties", ())
    )
