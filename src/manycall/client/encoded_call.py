"""One encoded request, which travels from the row to the transport as one record."""

from typing import Any

import msgspec

from manycall.providers import openai
from manycall.records import Api, Request
from manycall.store.journal_line import request_hash


class EncodedCall(msgspec.Struct, frozen=True, gc=False):
    """A request as it is sent.

    Attributes:
        api: the API that it is for.
        model: the name of the model.
        body: the encoded request.
        key: hash that identifies the request in the journal.
        max_output_tokens: the largest number of tokens of the answer, as the request limits it; None if it does not.
        pool: name of the pool that answers it; "": the default pool.
    """

    api: Api
    model: str
    body: bytes
    key: str
    max_output_tokens: int | None
    pool: str = ""


def encode_call(request: Request) -> EncodedCall:
    """Encode a request, once for all of its attempts.

    Raises:
        UsageError: the request cannot be sent.
    """
    body = openai.encode(request)
    maximum = 0 if request.api == "embeddings" else None
    if maximum is None and request.params:
        maximum = _max_output_tokens(request.params)
    key = request_hash(request.api, body, request.pool)
    return EncodedCall(request.api, request.model, body, key, maximum, request.pool)


def _max_output_tokens(params: dict[str, Any]) -> int | None:
    maximum = params.get("max_completion_tokens") or params.get("max_tokens")
    return maximum if isinstance(maximum, int) and maximum > 0 else None
