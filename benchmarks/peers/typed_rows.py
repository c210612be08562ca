"""Rows, calls and answers of the bare loops, in the fastest form for msgspec: with types and reused encoders."""

from typing import Any

import msgspec

Buffer = Any
"""Bytes, or what the HTTP library returns instead of them (`collections.abc.Buffer` since Python 3.12)."""


class Row(msgspec.Struct, gc=False):
    """A row of the input, and with its text a row of the output."""

    id: str
    prompt: str
    text: str = ""


class Message(msgspec.Struct, gc=False):
    """A message of a call, and of an answer, of which only the content is read."""

    content: str
    role: str = "user"


class Call(msgspec.Struct, gc=False):
    """The body of a call."""

    messages: tuple[Message]
    model: str = "mock"


class Choice(msgspec.Struct, gc=False):
    """A choice of an answer."""

    message: Message


class Answer(msgspec.Struct, gc=False):
    """An answer."""

    choices: list[Choice]


read_row = msgspec.json.Decoder(Row).decode
_read_answer = msgspec.json.Decoder(Answer).decode
_encode = msgspec.json.Encoder().encode


def call(row: Row) -> bytes:
    """Return the body of a row's call."""
    return _encode(Call((Message(row.prompt),)))


def read_text(body: Buffer) -> str:
    """Return the text of an answer."""
    return _read_answer(body).choices[0].message.content


def line(row: Row, text: str) -> bytes:
    """Return the line of the output."""
    row.text = text
    return _encode(row) + b"\n"
