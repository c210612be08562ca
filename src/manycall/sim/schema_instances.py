"""JSON that fits a schema, and JSON that violates it. The values are computed from hashes, without any state."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from manycall.sim.sim_settings import sim_uniform

_WORDS = "lamp fog clock gull harbour rain letter stair salt boat".split()
MAX_DEPTH = 12
"""Maximum depth of a value, because a schema may refer to itself."""


def asked_schema(params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the JSON schema in the `response_format` of a request; None if there is none."""
    response_format = params.get("response_format")
    inner = response_format.get("json_schema") if isinstance(response_format, Mapping) else None
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


def example_json(schema: Mapping[str, Any], *seed: Any) -> str:
    """Return JSON that fits a schema made of types, properties, items, enum, const, $ref, anyOf and bounds."""
    return json.dumps(_ValueGenerator(schema).value(schema, seed, 0))


def corrupt_json(text: str, u: float) -> str:
    """Return JSON that is invalid in one of the ways in which models fail: truncated, with a syntax error, or with
    other fields."""
    broken = text.replace(":", "", 1) if ":" in text else f"[{text}"
    return (text[: len(text) // 2], broken, '{"answer": null}')[int(u * 3)]


def wrap_json(text: str, u: float) -> str:
    """Return JSON as models write it that do not enforce a schema: in prose, in a code fence, with a trailing comma, or
    after thinking text."""
    with_comma = f"{text[:-1]},\n{text[-1]}" if text.endswith(("}", "]")) and len(text) > 2 else f"{text}\n"
    return (
        f"Sure! Here it is:\n{text}\nLet me know if you need more.",
        f"```json\n{text}\n```",
        with_comma,
        f"The schema wants an object.\n</think>\n\n{text}",
    )[int(u * 4)]


class _ValueGenerator:
    """Generates values for the parts of one schema."""

    def __init__(self, whole: Mapping[str, Any]) -> None:
        self._whole = whole
        self._kinds: dict[str, Callable[[Mapping[str, Any], tuple[Any, ...], int], Any]] = {
            "object": self._object,
            "array": self._array,
            "integer": self._number,
            "number": self._number,
            "boolean": lambda part, seed, depth: sim_uniform(0, "boolean", seed) < 0.5,
            "null": lambda part, seed, depth: None,
            "string": self._string,
        }

    def value(self, part: Mapping[str, Any], seed: tuple[Any, ...], depth: int) -> Any:
        if depth > MAX_DEPTH or not isinstance(part, Mapping):  # the schema `true` allows any value
            return None
        if "$ref" in part:
            return self.value(self._resolve_ref(part["$ref"]), seed, depth + 1)
        if either := part.get("anyOf") or part.get("oneOf") or part.get("allOf"):
            return self.value(either[0], seed, depth + 1)
        if values := [part["const"]] if "const" in part else part.get("enum"):
            return values[int(sim_uniform(0, "enum", seed) * len(values))]
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
        minimum = part.get("minimum", 0)
        return minimum + int(sim_uniform(0, "number", seed) * (part.get("maximum", minimum + 100) - minimum + 1))

    def _string(self, part: Mapping[str, Any], seed: tuple[Any, ...], depth: int) -> Any:
        words = (_WORDS[int(sim_uniform(0, "word", seed, n) * len(_WORDS))] for n in range(3))
        return " ".join(words).ljust(part.get("minLength", 0), "x")[: part.get("maxLength")]

    def _resolve_ref(self, ref: str) -> Mapping[str, Any]:
        target: Any = self._whole
        for step in ref.removeprefix("#/").split("/"):
            target = target.get(step, {}) if step else target
        return target  # type: ignore[no-any-return]
