"""The APIs that a simulated provider may have, and the paths at which they are."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from manycall.sim import sim_chat, sim_gemini, sim_messages, sim_responses
from manycall.sim.sim_dialects import Path, SimDialect
from manycall.sim.sim_request import Body, SimAnswer, SimCall
from manycall.sim.sim_stream import StreamPlan


class SimApi(msgspec.Struct, frozen=True):
    """One API.

    Attributes:
        path: pattern of its path after the base path. It may contain the model and the method.
        read: (body, model in the path) -> the call.
        reply: (call, answer, dialect, form of the thinking text) -> the body of a reply.
        stream: the same -> the events of a streamed reply.
        error_event: body of an error -> the events with which a stream ends.
        faults: the provider whose errors the API has, if not those of the dialect.
        switches: fields that switch thinking on and off, if not those of the dialect.
        thinks_by_default: models think unless the request switches it off.
        limit: name of the parameter that limits the tokens of an answer.
    """

    name: str
    path: str
    read: Callable[[Body, str], SimCall]
    reply: Callable[[SimCall, SimAnswer, SimDialect, str], Body]
    stream: Callable[[SimCall, SimAnswer, SimDialect, str], StreamPlan]
    error_event: Callable[[Any], bytes]
    faults: str = ""
    switches: tuple[Path, ...] = ()
    thinks_by_default: bool = True
    limit: str = "max_tokens"

    def fault_sources(self, dialect: SimDialect) -> tuple[str, ...]:
        """Return the providers whose errors a provider returns from this API."""
        return (self.faults, "*") if self.faults and self.faults != dialect.name else dialect.fault_sources


_CHAT = SimApi(
    "chat",
    "/chat/completions",
    sim_chat.read_chat,
    sim_chat.chat_reply,
    sim_chat.chat_stream,
    sim_chat.chat_error_event,
)
SIM_APIS: Mapping[str, SimApi] = {
    api.name: api
    for api in (
        _CHAT,
        msgspec.structs.replace(_CHAT, name="azure", path="/openai/deployments/(?P<model>[^/]+)/chat/completions"),
        SimApi(
            "completions",
            "/completions",
            sim_chat.read_completion,
            sim_chat.completion_reply,
            sim_chat.completion_stream,
            sim_chat.chat_error_event,
            thinks_by_default=False,
            switches=(("no switch",),),
        ),
        SimApi(
            "embeddings",
            "/embeddings",
            sim_chat.read_embeddings,
            sim_chat.embeddings_reply,
            sim_chat.chat_stream,
            sim_chat.chat_error_event,
            thinks_by_default=False,
            switches=(("no switch",),),
        ),
        SimApi(
            "messages",
            "/messages",
            sim_messages.read_messages,
            sim_messages.messages_reply,
            sim_messages.messages_stream,
            sim_messages.messages_error_event,
            faults="anthropic",
            switches=(("thinking", "type"),),
            thinks_by_default=False,
        ),
        SimApi(
            "responses",
            "/responses",
            sim_responses.read_responses,
            sim_responses.responses_reply,
            sim_responses.responses_stream,
            sim_responses.responses_error_event,
            switches=(("reasoning", "effort"),),
            limit="max_output_tokens",
        ),
        SimApi(
            "gemini",
            "/(?:models|tunedModels)/(?P<model>[^/:]+):(?P<method>generateContent|streamGenerateContent)",
            sim_gemini.read_gemini,
            sim_gemini.gemini_reply,
            sim_gemini.gemini_stream,
            sim_gemini.gemini_error_event,
            switches=(
                ("generationConfig", "thinkingConfig", "thinkingBudget"),
                ("generationConfig", "thinkingConfig", "thinkingLevel"),
            ),
            limit="maxOutputTokens",
        ),
    )
}
_ANTHROPIC_BASES = ("/anthropic/v1", "/api/anthropic/v1", "/apps/anthropic/v1")
"""Base paths of the Messages API at providers whose main API is another one."""


class Route(NamedTuple):
    """The API of a path. `model` and `streams` are known only if the path contains them."""

    api: SimApi
    model: str = ""
    streams: bool = False


def find_route(dialect: SimDialect, path: str) -> Route | None:
    """Return the API of a path; None if the provider has none there."""
    for name in dialect.apis:
        if (api := SIM_APIS.get(name)) is None:
            continue
        bases = (*dialect.base_paths, *(_ANTHROPIC_BASES if name == "messages" else ()))
        for base in bases:
            if path.startswith(base) and (match := re.fullmatch(api.path, path.removeprefix(base))):
                found = match.groupdict()
                return Route(api, unquote(found.get("model", "")), found.get("method", "").startswith("stream"))
    return None
