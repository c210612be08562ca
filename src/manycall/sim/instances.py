"""Answers of a shape: JSON that fits a schema, and JSON that does not. Pure; drawn from hashes, as all that it says."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from manycall.sim.model import draw

_WORDS = "lamp fog clock gull harbour rain letter stair salt boat".split()
DEEPEST = 12
"""A schema may refer to itself."""


def asked_schema(params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON schema in the `response_format` of a request; None if there is none."""
    wanted = params.get("response_format")
    inner = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


def instance(schema: Mapping[str, Any], *seed: Any) -> str:
    """JSON that fits a schema of the usual kind: types, properties, items, enum, const, $ref, anyOf, bounds."""
    return json.dumps(_Made(schema).value(schema, seed, 0))


def spoilt(text: str, u: float) -> str:
    """The same in one of the ways in which models fail: cut off, talked about, or of another shape."""
    return (text[: len(text) // 2], f"Sure! Here it is:\n{text}", '{"answer": null}')[int(u * 3)]


class _Made:
    """Makes values for the parts of one schema."""

    def __init__(self, whole: Mapping[str, Any]) -> None:
        self._whole = whole
        self._kinds: dict[str, Callable[[Mapping[str, Any], tuple[Any, ...], int], Any]] = {
            "object": self._object,
            "array": self._array,
            "integer": self._number,
            "number": self._number,
            "boolean": lambda part, seed, depth: draw(0, "boolean", seed) < 0.5,
            "null": lambda part, seed, depth: None,
            "string": self._string,
        }

    def value(self, part: Mapping[str, Any], seed: tuple[Any, ...], depth: int) -> Any:
        if depth > DEEPEST or not isinstance(part, Mapping):  # `true`: whatever you like
            return None
        if "$ref" in part:
            return self.value(self._found(part["$ref"]), seed, depth + 1)
        if either := part.get("anyOf") or part.get("oneOf") or part.get("allOf"):
            return self.value(either[0], seed, depth + 1)
        if values := [part["const"]] if "const" in part else part.get("enum"):
            return values[int(draw(0, "enum", seed) * len(values))]
        kind = part.get("type", "object" if "properties" in part else "string")
        return self._kinds[kind if isinstance(kind, str) else kind[0]](part, seed, depth)

    def _object(self, part: Mapping[str, Any], seed: tuple[Any, ...], depth: int) -> Any:
        names = part.get("properties", {})
        return {name: self.value(each, (*seed, name), depth + 1) for name, each in names.items()}

    def _array(self, part: Mapping[str, Any], seed: tuple[Any, ...], depth: int) -> Any:
        count = max(part.get("minItems", 0), min(part.get("maxItems", 3), 3))
        first, others = part.get("prefixItems", []), part.get("items", {})
        items = first if others is False else [*first, *[others] * (count - len(first))]
        return [self.value(each, (*seed, n), depth + 1) for n, each in enumerate(items)]

    def _number(self, part: Mapping[str, Any], seed: tuple[Any, ...], depth: int) -> Any:
        least = part.get("minimum", 0)
        return least + int(draw(0, "number", seed) * (part.get("maximum", least + 100) - least + 1))

    def _string(self, part: Mapping[str, Any], seed: tuple[Any, ...], depth: int) -> Any:
        words = (_WORDS[int(draw(0, "word", seed, n) * len(_WORDS))] for n in range(3))
        return " ".join(words).ljust(part.get("minLength", 0), "x")[: part.get("maxLength")]

    def _found(self, ref: str) -> Mapping[str, Any]:
        found: Any = self._whole
        for step in ref.removeprefix("#/").split("/"):
            found = found.get(step, {}) if step else found
        return found  # type: ignore[no-any-return]
