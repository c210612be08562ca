"""One line of the journal, calls.jsonl.

A line is {"id": row id, "key": hash of the request, "nth": the number among the row's identical requests, from
1, "at": seconds since 1970, "seconds": duration, "ttft": seconds until the first event if the response was streamed,
"endpoint", "model": which endpoint answered, if a run has several or prices, and the model, if it is not the run's,
"attempts", "waited", "statuses": of a call that was retried, its attempts, the seconds between them and the statuses of
those that failed, "body": the exact text of the response}. A body that is not valid UTF-8 is stored base64-encoded in
"body64" instead. The response of another API, or a streamed one, is stored as the equivalent chat completion.
"""

from base64 import b64decode
from functools import cache
from hashlib import blake2b
from typing import NamedTuple

import msgspec


class StoredCall(msgspec.Struct, omit_defaults=True, gc=False):
    """One line of the file."""

    id: str
    key: str
    occurrence: int = msgspec.field(name="nth")
    at: float = 0.0
    seconds: float = 0.0
    ttft: float | None = None
    endpoint: str = ""
    model: str = ""
    attempts: int = 1
    waited: float | None = None
    statuses: tuple[int, ...] = ()
    body: str = ""
    body64: str = ""


class JournaledCall(NamedTuple):
    """What a journal records of a call, for a recount of the tokens and the cost.

    Attributes:
        body: the response.
        endpoint, model: which endpoint answered, and the model of the request; "" for the run's first endpoint and for
            the run's model.
        at: when the response arrived (Unix time in seconds).
    """

    body: bytes
    endpoint: str = ""
    model: str = ""
    at: float = 0.0


class SentCall(NamedTuple):
    """A journaled call that is sent to a worker together with its row.

    Attributes:
        key: `request_hash` of the request.
        occurrence: number of the call among the row's identical requests, from 1.
        body: the response.
    """

    key: str
    occurrence: int
    body: bytes


class CallKey(msgspec.Struct):
    """The fields of a line that identify a call. Decoding only these is faster than decoding the body too."""

    id: str
    key: str
    occurrence: int = msgspec.field(name="nth")


encode_calls = msgspec.json.Encoder().encode_lines
"""Encodes stored calls as lines, each with its newline."""
_decode_call = msgspec.json.Decoder(StoredCall).decode
decode_key = msgspec.json.Decoder(CallKey).decode


def request_hash(path: str, body: bytes, pool: str = "") -> str:
    """Return a hash that identifies a request: its URL path, every byte of its body, and the name of its pool.

    The hash of a request for the default pool ("") does not depend on names. A body contains no NUL, so the two forms
    cannot be equal.
    """
    digest = _keyed_hash(path).copy()
    digest.update(pool.encode() + b"\0" + body if pool else body)
    return digest.hexdigest()


@cache
def _keyed_hash(path: str) -> blake2b:
    return blake2b(digest_size=16, key=path.encode())  # copying it takes half the time of making it


def decode_journaled(line: bytes) -> JournaledCall:
    """Return the call stored in a line.

    Raises:
        One of DECODE_ERRORS: the line cannot be decoded.
    """
    call = _decode_call(line)
    return JournaledCall(_stored_body(call), call.endpoint, call.model, call.at)


def decode_response(line: bytes) -> bytes:
    """Return the response body stored in a line.

    Raises:
        One of DECODE_ERRORS: the line cannot be decoded.
    """
    return _stored_body(_decode_call(line))


def decode_sent(line: bytes) -> tuple[str, SentCall]:
    """Return the id of the row of a line, and the call as it is sent along with its row.

    Raises:
        One of DECODE_ERRORS: the line cannot be decoded.
    """
    call = _decode_call(line)
    return call.id, SentCall(call.key, call.occurrence, _stored_body(call))


def _stored_body(call: StoredCall) -> bytes:
    return b64decode(call.body64, validate=True) if call.body64 else call.body.encode()


LARGE_BODY_BYTES = 1 << 20
"""Only larger bodies are checked for control characters, because the check costs time for every response."""
_CONTROLS = bytes(range(32))


def body_text(body: bytes) -> str:
    """Decode a body as text.

    Raises:
        UnicodeDecodeError: the body is not UTF-8, or it is large and more than half of it are control characters, which
            JSON escapes with six bytes each.
    """
    if len(body) > LARGE_BODY_BYTES and 2 * len(body.translate(None, _CONTROLS)) < len(body):
        raise UnicodeDecodeError("utf-8", b"", 0, 0, "control characters")
    return body.decode()


def lookup_key(row_id: str, key: str, occurrence: int) -> bytes:
    return blake2b(f"{occurrence} {key} {row_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
