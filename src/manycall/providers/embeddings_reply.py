"""The vectors of an embeddings reply, as lists or in base64."""

import sys
from array import array
from base64 import b64decode
from collections.abc import Sequence

from manycall.errors import EmptyCompletion, InvalidResponse
from manycall.providers.chat_reply import Vector


def read_vectors(data: list[Vector] | None, body: bytes) -> list[Sequence[float]]:
    """Return the vectors in the order of the request's texts. A vector that is null or empty has no numbers.

    Args:
        data: the content of the field `data`.
        body: the response, for the exception.

    Raises:
        InvalidResponse: there is no vector, one is not valid base64, or it is not known which text it belongs to.
        EmptyCompletion: no vector has numbers.
    """
    if not data:
        raise InvalidResponse("The response contains no embedding.", body=body)
    if len(data) > 1:
        indexes = [each.index for each in data]
        if None in indexes or sorted(indexes) != list(range(len(data))):  # type: ignore[type-var]
            raise InvalidResponse(
                "The response does not say which embedding belongs to which text: its `index` fields are not 0, 1, 2, "
                "and so on.",
                body=body,
            )
        data = sorted(data, key=lambda each: each.index or 0)
    vectors = [_numbers(each.embedding, body) for each in data]
    if not any(vectors):
        raise EmptyCompletion("An embedding in the response is empty.", body=body)
    return vectors


def float32_bytes(vector: Sequence[float]) -> bytes:
    """Return the numbers as little-endian 32-bit floats."""
    numbers = vector if isinstance(vector, array) else array("f", vector)
    if sys.byteorder == "big":
        numbers = array("f", numbers)
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(sent: list[float] | str | None, body: bytes) -> Sequence[float]:
    if not isinstance(sent, str):
        return sent or []
    numbers = array("f")
    try:
        numbers.frombytes(b64decode(sent, validate=True))
    except ValueError as error:
        raise InvalidResponse(
            f"An embedding in the response is not base64 of 32-bit floats: {error}", body=body
        ) from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
