"""Records: rows, requests, answers and results. They are frozen and typed.

The records of each row set `gc=False`, so that the garbage collector does not search them for reference cycles. They
contain JSON values, which have none.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)
"""Exceptions raised when decoding malformed bytes."""
Api = Literal["chat", "completions", "embeddings"]
BodyFormat = Literal["compact", "lm-eval"]
"""How a request body is encoded: compact, or byte for byte as lm-evaluation-harness encodes it."""
Fields = dict[str, Any]
"""The fields of a row by name, with any JSON values."""
Message = dict[str, Any]
Messages = list[Message]


class Secret:
    """An API key that is visible only through `reveal()`. Only the transport and the redactor call it.

    The text is held in a closure, so that debuggers and encoders that walk through attributes find no text. Tracebacks
    may print the values of variables, so never assign the result of `reveal()` to one.

    Attributes:
        reveal: returns the key.
    """

    __slots__ = ("reveal",)

    def __init__(self, value: "str | Secret") -> None:
        self.reveal: Callable[[], str] = value.reveal if isinstance(value, Secret) else lambda: value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled or copied")


class Row(msgspec.Struct, frozen=True, gc=False):
    """One input row, or one sample of it.

    Attributes:
        id: identifies the row in every file; `id#k` for the k-th sample of a row.
        fields: the row's own fields, as read from the input.
        index: position in the input, from 0.
        sample: number of the sample, from 0.
    """

    id: str
    fields: Fields
    index: int = 0
    sample: int = 0


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request, before it is encoded.

    Attributes:
        content: messages for chat, a prompt for completions, one or several texts for embeddings.
        params: everything else in the body: temperature, max_tokens, stop, ...
        spelling: how the body is encoded.
        pool: name of the pool of endpoints that it is for; "": the default pool.
    """

    api: Api
    model: str
    content: Messages | str | list[str]
    params: dict[str, Any]
    spelling: BodyFormat = "compact"
    pool: str = ""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Numbers of tokens, as counted by the server.

    Attributes:
        prompt_tokens: tokens of the prompt, including the cached ones.
        completion_tokens: tokens of the answer, including its thinking text.
        reasoning_tokens: tokens of the thinking text; 0 if the server does not count them separately.
        cached_tokens: tokens of the prompt that the server read from its cache; 0 if it does not report them.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0


class AnswerChoice(msgspec.Struct, frozen=True, gc=False):
    """One of several answers to a call with the parameter `n`.

    Attributes:
        text, finish_reason, reasoning: as those of a `Completion`.
        position: its place among the choices of the response, from 0. Choices without an answer leave a gap.
    """

    text: str
    finish_reason: str
    reasoning: str
    position: int


class Completion(msgspec.Struct, frozen=True, gc=False):
    """One answer.

    Attributes:
        text: the text of the first choice with an answer. It is empty only if the answer is a tool call.
        finish_reason: "stop", "length" (truncated at max_tokens), "repetition" (ended by the server because the model
            repeated itself), ...; "" if the server did not send one. Other names of "stop" and "length" are translated.
        body: the server's response. A stream, a reply of another API than chat, and a body with lone surrogates are
            converted to a chat completion in JSON.
        replayed: the answer comes from the journal of an earlier run; nothing was sent.
        reasoning: the thinking text, which is not a part of `text`; "" if the server returned none.
        choices: every answer of a response with several choices (`n`); otherwise empty.
    """

    text: str
    finish_reason: str
    usage: Usage
    body: bytes
    replayed: bool = False
    reasoning: str = ""
    choices: tuple[AnswerChoice, ...] = ()

    def __repr__(self) -> str:
        """Return everything but the body, which repeats it."""
        parts = [f"text={self.text!r}", f"finish_reason={self.finish_reason!r}", f"usage={self.usage!r}"]
        if self.reasoning:
            parts.append(f"reasoning={self.reasoning!r}")
        if self.choices:
            parts.append(f"choices={self.choices!r}")
        return f"Completion({', '.join(parts)})"

    @property
    def raw(self) -> Any:
        """The complete response body, decoded."""
        return msgspec.json.decode(self.body)

    @property
    def truncated(self) -> bool:
        """Whether the answer, or one of its choices, was truncated at max_tokens."""
        if self.choices:
            return any(choice.finish_reason == "length" for choice in self.choices)
        return self.finish_reason == "length"


class Embeddings(msgspec.Struct, frozen=True):
    """One vector for each text of the request, in order.

    Attributes:
        vectors: the numbers of each vector. They are lists if the response contains lists, and arrays of 32-bit floats
            if it contains base64 (`encoding_format="base64"`).
        usage: the tokens of the request.
        body: the server's response, byte for byte.
        replayed: the vectors come from the journal of an earlier run; nothing was sent.
    """

    vectors: list[Sequence[float]]
    usage: Usage
    body: bytes
    replayed: bool = False

    @property
    def raw(self) -> Any:
        """The complete response body, decoded."""
        return msgspec.json.decode(self.body)


RowOutput = dict[str, Any] | list[dict[str, Any]]
"""The result of a row function: fields to add to the row's own or, if the job allows it, a list of rows."""


class Success(msgspec.Struct, frozen=True, gc=False):
    """A finished row with the result of its function."""

    row: Row
    output: RowOutput


FailureKind = Literal[
    "content_filter", "refused", "empty", "reasoning_only", "invalid", "call_error", "function_error", "prompt_error"
]
"""Why a row failed.

content_filter: a content filter removed the answer. refused: the model declined to answer. empty: the answer has no
text. reasoning_only: the model wrote thinking text but no answer, in most cases because max_tokens was reached.
invalid: the response contains no answer, or no valid one. call_error: no response, or an error status.
function_error: the row function raised an exception, or returned a value that cannot be written. prompt_error: the
template does not fit the row.
"""
NO_ANSWER_KINDS: tuple[FailureKind, ...] = ("reasoning_only", "empty", "refused")
"""The model responded, but without an answer. An evaluation scores these rows as wrong."""


class Failure(msgspec.Struct, frozen=True):
    """A failed row.

    Attributes:
        kind: the kind of failure.
        error: the error message.
        attempts: number of attempts of its last call.
        last_text: the last text that the server returned for this row; None if there is none.
        status: HTTP status of the last response; 200 for a response without an answer, None without a response.
    """

    row: Row
    kind: FailureKind
    error: str
    attempts: int = 0
    last_text: str | None = None
    status: int | None = None


RowOutcome = Success | Failure
"""The outcome of a row."""
