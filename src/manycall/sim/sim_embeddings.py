"""Embeddings of the simulated server: the same vector for equal texts, as a list or in base64."""

from array import array
from base64 import b64encode
from collections.abc import Mapping
from hashlib import shake_256
from typing import Any

DEFAULT_DIMENSIONS = 8
MAX_DIMENSIONS = 16_384


def input_texts(request: Mapping[str, Any]) -> list[Any]:
    """Return the texts of an embeddings request.

    Raises:
        LookupError, ValueError: the request has no text, or its parameters are not valid.
    """
    given, dimensions = request["input"], request.get("dimensions", DEFAULT_DIMENSIONS)
    texts = given if isinstance(given, list) else [given]
    if not texts or "" in texts:
        raise ValueError("input cannot be empty")
    if not isinstance(dimensions, int) or not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ValueError(f"dimensions must be from 1 to {MAX_DIMENSIONS}")
    if request.get("encoding_format", "float") not in ("float", "base64"):
        raise ValueError("encoding_format must be float or base64")
    return texts


def embedding_objects(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the content of the field `data` of the response."""
    dimensions = request.get("dimensions", DEFAULT_DIMENSIONS)
    in_base64 = request.get("encoding_format") == "base64"
    return [
        {"object": "embedding", "index": index, "embedding": _encoded(text, dimensions, in_base64)}
        for index, text in enumerate(input_texts(request))
    ]


def vector(text: Any, dimensions: int = DEFAULT_DIMENSIONS) -> list[float]:
    """Return an embedding, which is the same for equal texts. 32-bit floats represent its numbers exactly."""
    numbers = array("H", shake_256(str(text).encode("utf-8", "surrogatepass")).digest(2 * dimensions))
    return [number / 32768 - 1 for number in numbers]


def _encoded(text: Any, dimensions: int, in_base64: bool) -> list[float] | str:
    numbers = vector(text, dimensions)
    return b64encode(array("f", numbers).tobytes()).decode() if in_base64 else numbers
