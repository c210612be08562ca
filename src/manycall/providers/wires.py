"""The APIs that an endpoint may speak instead of OpenAI's chat API.

Everything inside manycall uses the chat format: the canonical body identifies a call, and the journal holds chat
completions. A wire translates at the edge of an endpoint. It is resolved once for each endpoint. An endpoint without a
wire speaks the chat API, and its bytes are sent and returned unchanged.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from manycall import errors
from manycall.providers import anthropic, anthropic_reply, azure, gemini, gemini_reply, responses, responses_reply
from manycall.providers.provider import BEARER
from manycall.providers.stream_events import Fold
from manycall.records import Api


class Wire(msgspec.Struct, frozen=True):
    """How an endpoint's API differs from the chat API.

    Attributes:
        name: name of the wire in WIRES.
        url: (base URL, api, model, whether to stream) -> URL of a call. It raises a UsageError for an API that the
            wire cannot express, such as embeddings.
        key_header: header that contains the API key.
        headers: further headers of every request.
        query: query of the URL, unless the user gives another one.
        encode: canonical chat body -> body of the API; a UsageError if the API cannot express it. None: the same body.
        decode: body of a response with status 200 -> equivalent chat completion. None: the same body.
        fold: makes the object that assembles one streamed response. None: the chunks are chat chunks.
    """

    name: str
    url: Callable[[str, Api, str, bool], str]
    key_header: str = BEARER
    headers: tuple[tuple[str, str], ...] = ()
    encode: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    decode: Callable[[bytes], bytes] | None = None
    fold: Callable[[], Fold] | None = None
    query: str = ""


def _chat_only(name: str, url: Callable[[str, str, bool], str]) -> Callable[[str, Api, str, bool], str]:
    def checked(base: str, api: Api, model: str, stream: bool) -> str:
        if api != "chat":
            raise errors.UsageError(f"An endpoint that speaks the {name} API cannot make {api} calls, only chat calls.")
        return url(base, model, stream)

    return checked


WIRES: Mapping[str, Wire] = {
    wire.name: wire
    for wire in (
        Wire("azure", azure.url, "api-key", query=f"api-version={azure.API_VERSION}"),
        Wire(
            "anthropic",
            _chat_only("anthropic", anthropic.url),
            "x-api-key",
            (("anthropic-version", anthropic.VERSION),),
            anthropic.encode,
            anthropic_reply.decode,
            anthropic_reply.AnthropicFold,
        ),
        Wire(
            "gemini",
            _chat_only("gemini", gemini.url),
            "x-goog-api-key",
            (),
            gemini.encode,
            gemini_reply.decode,
            gemini_reply.GeminiFold,
        ),
        Wire(
            "responses",
            _chat_only("responses", responses.url),
            BEARER,
            (),
            responses.encode,
            responses_reply.decode,
            responses_reply.ResponsesFold,
        ),
    )
}
