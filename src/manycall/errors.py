"""Everything that can go wrong, and what a failed call means for its row.

    ManycallError
    ├── UsageError              the command or the call is wrong; nothing was sent
    ├── RunStopped              the run ended before its rows did: auth, quota, canary
    │   ├── Interrupted         ... because somebody pressed Ctrl-C
    │   ├── BudgetSpent         ... because its tokens or its money are used up
    │   ├── DeadlinePassed      ... because its time is
    │   └── InputChanged        ... because the file of its rows is not what it was
    ├── StoreError              the files on disk refuse
    │   ├── RunDiffers          made with another prompt, model or parameter
    │   ├── RunLocked           another process writes there
    │   └── StoreCorrupt        damage that is not a torn tail: says at which byte
    ├── Rejected                a row function wants no part of this row: neither done nor failed
    └── CallFailed              one call gave no answer
        ├── TransportError      no whole reply came
        │   ├── NeverSent       no connection: the server has seen nothing
        │   │   └── Untrusted   its certificate was refused
        │   ├── ConnectionLost  sent, or perhaps sent, then lost: may be billed
        │   ├── TimedOut        no whole reply in time: may be billed
        │   └── ReplyBroken     a reply began and broke off, or is not HTTP
        │       └── TooLong     ... or goes on for longer than can be kept
        ├── Refused             a reply with an error status: status, code, retry_after
        └── BadReply            a 200 that holds no answer
            ├── EmptyAnswer     ... whose text is empty
            ├── OutOfTokens     ... because max_tokens was used up before any text
            ├── Misshapen       ... that fits the schema, or the scale, that was asked for
            ├── Filtered        ... because a content filter took it
            └── Declined        ... because the model refused to give one

Split by *when* a call failed, because that decides whether it may have been paid for. Exceptions are
for stopping the run and for the author of a row function; a row itself ends in a `Success` or a
`Failure` (records.py), never in a traceback.
"""

import enum
from typing import Any, ClassVar


class Verdict(enum.Enum):
    """What a failed call means."""

    RETRY = "retry"
    """The same request may succeed later."""
    GIVE_UP = "give up"
    """This request will never succeed; the others may."""
    STOP = "stop"
    """No request will succeed until somebody mends something: stop the run."""


class ManycallError(Exception):
    """The root. Its message is a sentence for the user: what, where, what to do."""

    exit_code: ClassVar[int] = 4


class UsageError(ManycallError):
    """The command or the call is wrong. Raised before any request is sent."""

    exit_code = 2


class RunStopped(ManycallError):
    """The run ended before its rows did. What is finished is on disk; the same command goes on.

    Attributes:
        done: how many rows are in the output.
        remedy: what to do before the same command goes on.
    """

    done = 0
    remedy: ClassVar[str] = "mend it, and run again"


class Interrupted(RunStopped):
    """Somebody pressed Ctrl-C, or the process got SIGTERM."""

    exit_code = 130
    remedy = "go on with"


class BudgetSpent(RunStopped):
    """What the output may cost is used up: its tokens, or its money."""

    remedy = "raise the budget, and go on with"


class DeadlinePassed(RunStopped):
    """The time that the run was given is up."""

    remedy = "go on with"


class InputChanged(RunStopped):
    """The input file holds other bytes than when its rows were checked, so that ids may repeat."""

    remedy = "when the file is complete, run again"


class StoreError(ManycallError):
    """The files on disk refuse."""


class RunDiffers(StoreError):
    """The output was made with another prompt, model or parameter."""

    exit_code = 2


class RunLocked(StoreError):
    """Another process is writing this output."""

    exit_code = 2


class StoreCorrupt(StoreError):
    """A file is damaged in its middle, which no crash of ours explains."""


class Rejected(ManycallError):
    """Raised by a row function: this row is not wanted. It goes to rejected.jsonl, and is not asked for again.

    Args:
        reason: why.
        fields: what was made of it so far.
    """

    def __init__(self, reason: str, **fields: Any) -> None:
        super().__init__(reason)
        self.fields = fields


class CallFailed(ManycallError):
    """One call gave no answer.

    Attributes:
        maybe_billed: the server may have done the work all the same.
        attempts: how often it was sent before we gave up (set by the client).
        body: what the server answered, if it answered.
    """

    maybe_billed: ClassVar[bool] = False

    def __init__(self, message: str, *, body: bytes = b"") -> None:
        super().__init__(message)
        self.body = body
        self.attempts = 1


class TransportError(CallFailed):
    """No whole reply came."""


class NeverSent(TransportError):
    """No connection was made (refused, unknown host, no route): the server has seen nothing."""


class Untrusted(NeverSent):
    """The server's certificate was refused."""


class ConnectionLost(TransportError):
    """The connection went away after the request was sent, or perhaps sent."""

    maybe_billed = True


class TimedOut(TransportError):
    """No whole reply within the timeout."""

    maybe_billed = True


class ReplyBroken(TransportError):
    """A reply began, and broke off, or could not be read as HTTP."""

    maybe_billed = True


class TooLong(ReplyBroken):
    """A reply was longer than can be kept. The next would be as long, and cost as much."""


class Refused(CallFailed):
    """The server answered with an error status.

    Attributes:
        status: the HTTP status.
        code: the provider's own code or type, lower case; "" if it gave none.
        retry_after: seconds the server asks us to wait; None if it did not say.
        elsewhere: another endpoint, or another key, may take the call.
        of_all: a 429 that holds up all calls there, and not this one alone.
        is_throttle: the words may mean a used-up quota, but the key is taken to be throttled.
    """

    elsewhere = False
    of_all = True
    is_throttle = False

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message, body=body)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class BadReply(CallFailed):
    """A reply with status 200 that holds no answer."""

    maybe_billed = True


class EmptyAnswer(BadReply):
    """The answer's text is empty. An empty text never passes for an answer."""


class OutOfTokens(BadReply):
    """max_tokens was used up before any text, by thinking."""


class Misshapen(BadReply):
    """The answer is not what was asked for, after all the times that it was asked again: no JSON, or not that of the
    schema; no number, or not of the scale."""


class Filtered(BadReply):
    """A content filter took the answer."""


class Declined(BadReply):
    """The model refused to answer, and said so in `message.refusal`."""
