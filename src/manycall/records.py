"""The nouns: what goes in, what goes over the wire, what comes out. Frozen, typed, JSON-stable.

Those on the path of every row are not looked through for cycles of garbage (gc=False): what they hold is JSON, and has
none.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding comes to of bytes that are not what they should be."""
Api = Literal["chat", "completions", "embeddings"]
Spelling = Literal["compact", "lm-eval"]
"""How a body is written: in as few bytes as it takes, or byte for byte as lm-evaluation-harness writes the same."""
Fields = dict[str, Any]
"""Of a row, by name: whatever JSON holds."""
Message = dict[str, Any]
Messages = list[Message]


def as_text(value: Any) -> str:
    """A JSON value as text; what is none is spelled as in JSON: true, 0.5."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class Secret:
    """A key. Shows itself to nobody but `reveal()`, of which only the transport and the scrubber know.

    It holds the text in a function, so whoever walks through attributes (debuggers, encoders) finds no text. What a
    variable holds may be printed with a traceback; so never keep what `reveal()` returns in one.

    Attributes:
        reveal: the key itself.
    """

    __slots__ = ("reveal",)

    def __init__(self, value: "str | Secret") -> None:
        self.reveal: Callable[[], str] = value.reveal if isinstance(value, Secret) else lambda: value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not to be pickled or copied")


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row to be done.

    Attributes:
        id: names the row in every file; for the k-th sample of a row, `id#k`.
        fields: the row's own fields, as they came in.
        index: place in the source, from 0.
        sample: which sample of the row this is, from 0.
    """

    id: str
    fields: Fields
    index: int = 0
    sample: int = 0


class Request(msgspec.Struct, frozen=True, gc=False):
    """One call, before it is bytes.

    Attributes:
        content: messages for chat, a prompt for completions, one text or several for embeddings.
        params: everything else in the body: temperature, max_tokens, stop, ...
        spelling: how the body is written.
    """

    api: Api
    model: str
    content: Messages | str | list[str]
    params: dict[str, Any]
    spelling: Spelling = "compact"


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens, as the server counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(msgspec.Struct, frozen=True, gc=False):
    """One answer.

    Attributes:
        text: the text of the first choice; never empty, unless the answer is a tool call.
        finish_reason: "stop", "length" (cut at max_tokens), ...; "" if the server did not say.
        body: the server's reply, byte for byte.
        replayed: it came from the journal of an earlier run; nothing was sent.
    """

    text: str
    finish_reason: str
    usage: Usage
    body: bytes
    replayed: bool = False

    @property
    def raw(self) -> Any:
        """The server's whole reply, decoded."""
        return msgspec.json.decode(self.body)

    @property
    def truncated(self) -> bool:
        """Cut at max_tokens."""
        return self.finish_reason == "length"


class Embeddings(msgspec.Struct, frozen=True):
    """One vector for each text that was asked for, in order."""

    vectors: list[list[float]]
    usage: Usage
    body: bytes
    replayed: bool = False

    @property
    def raw(self) -> Any:
        """The server's whole reply, decoded."""
        return msgspec.json.decode(self.body)


Made = dict[str, Any] | list[dict[str, Any]]
"""What a row function makes of a row: fields beside the row's own; or, where its job allows that, many rows."""


class Success(msgspec.Struct, frozen=True, gc=False):
    """A row that is done: what its function made of it."""

    row: Row
    result: Made


Unfinished = Literal["filtered", "refused", "empty", "invalid", "call failed", "function failed", "bad prompt"]
"""Why a row is not done.

filtered: a content filter took the answer. refused: the model declined to answer. empty: the answer has no text.
invalid: the reply holds no answer, or none that fits what was asked for. call failed: no reply, or an error status.
function failed: the row function raised, or returned what cannot be written. bad prompt: the template does not fit the
row.
"""


class Failure(msgspec.Struct, frozen=True):
    """A row that was given up.

    Attributes:
        verdict: why.
        error: a sentence.
        attempts: how often its last call was sent.
        raw: the last text the server gave for this row, if it gave one.
        status: of the last reply, if there was one: 200 for one that holds no answer.
    """

    row: Row
    verdict: Unfinished
    error: str
    attempts: int = 0
    raw: str | None = None
    status: int | None = None


Result = Success | Failure
"""How every row ends."""
