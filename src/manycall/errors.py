"""All exceptions, and what a failed call means for its row.

    ManycallError
    ├── UsageError                  the command or the call is wrong; nothing was sent
    ├── RunStopped                  the run ended before all rows were processed: wrong key, quota, first rows failed
    │   ├── Interrupted             ... because the user pressed Ctrl-C
    │   ├── BudgetExceeded          ... because its token or dollar budget is used up
    │   ├── TimeLimitReached        ... because its time limit was reached
    │   ├── DailyQuotaExhausted     ... because the daily quota of the last key is used up
    │   └── InputChanged            ... because the input file has changed
    ├── StorageError                files on disk cannot be read or written
    │   ├── SettingsMismatch        the output was created with another prompt, model or parameter
    │   ├── OutputLocked            another process writes the output
    │   │   └── SegmentInUse        a worker of a killed run finishes its calls
    │   └── CorruptFile             damage that is not a torn tail; the message gives the byte
    ├── RowRejected                 a row function rejects its row, which is neither done nor failed
    └── CallError                   one call produced no answer
        ├── TransportError          no complete response
        │   ├── ConnectError        no connection: the server has received nothing
        │   │   └── CertificateError    the server's certificate is not trusted
        │   ├── ConnectionLost      sent, or perhaps sent, then lost: possibly billed
        │   ├── AttemptTimeout      no complete response in time: possibly billed
        │   └── IncompleteResponse  the response ended early, or is not HTTP: possibly billed
        │       └── ResponseTooLarge    the response exceeds the size limit
        ├── HttpStatusError         a response with an error status: status, code, retry_after
        │   └── ErrorInStream       ... reported after the answer had begun: possibly billed
        └── InvalidResponse         a response with status 200 that contains no answer
            ├── EmptyCompletion     ... because its text is empty
            │   └── ReasoningOnly       ... but for thinking text
            ├── MaxTokensReached    ... because max_tokens was reached before any text
            ├── AnswerInvalid       ... that fits the requested schema or scale
            ├── ContentFiltered     ... because a content filter removed it
            └── Declined            ... because the model declined to answer

Call errors differ in *when* the call failed, because that decides whether it may have been billed. Exceptions serve
to stop the run and to inform the author of a row function. A row itself ends as a `Success` or a `Failure`
(records.py), never as a traceback.
"""

import enum
from typing import Any, ClassVar, Self


class FailureAction(enum.Enum):
    """What to do after a failed call."""

    RETRY = "retry"
    """The same request may succeed later."""
    FAIL = "fail"
    """This request will never succeed; the others may."""
    STOP_RUN = "stop run"
    """No request will succeed until the user fixes a problem."""


class FailureClass(enum.Enum):
    """Why an attempt failed, as far as it matters for the next one (providers/error_codes.py, control/retry.py)."""

    UNREACHABLE = "unreachable"
    """No connection, or the connection was lost."""
    UNTRUSTED_SERVER = "untrusted server"
    """The server's certificate is not trusted."""
    OVERLOADED = "overloaded"
    """The server has no capacity; nothing was computed or billed."""
    RATE_LIMITED = "rate limited"
    """The server asks for fewer calls in a minute (429)."""
    CONCURRENCY_LIMITED = "concurrency limited"
    """The server asks for fewer calls at the same time (429)."""
    KEY_RATE_LIMITED = "key rate limited"
    """A message that may mean a used-up quota, but most likely means a rate limit of the key."""
    DAILY_QUOTA = "daily quota"
    """A quota of the key for a day, or for several hours, is used up."""
    NO_ANSWER = "no answer"
    """No answer although the server may have done the work and charged for it: a timeout, an empty text."""
    MALFORMED = "malformed"
    """A response that cannot be read, or that contains no answer."""
    SERVER_ERROR = "server error"
    """A fault of the server: a status of 500 or above that is not known to mean anything else."""
    BAD_REQUEST = "bad request"
    """The request, or its answer, will be no better next time."""
    CONTENT_FILTER = "content filter"
    """A content filter blocked the prompt or the answer."""
    TOO_LONG = "too long"
    """The prompt and max_tokens exceed the context length."""
    PARAMETER = "parameter"
    """A parameter of the request, or its value, is not accepted."""
    BAD_SETUP = "bad setup"
    """The URL, the model or a permission is wrong, if no call has succeeded yet."""
    BAD_KEY = "bad key"
    """The key is not accepted."""
    OUTAGE = "outage"
    """The key is not accepted although it has worked, or all calls are refused: most likely a fault of the server."""
    GONE = "gone"
    """All calls have been refused for too long, although calls of the run were answered before."""
    OUT_OF_MONEY = "out of money"
    """The balance of the account, or its spend limit, is used up."""


class ManycallError(Exception):
    """The base class. The message is for the user: what happened, where, and what to do.

    Attributes:
        exit_code: exit code of the command.
    """

    exit_code: ClassVar[int] = 4

    def replace(self, message: str | None = None, **attributes: Any) -> Self:
        """Return a copy with another message or other attributes. An exception is not changed after it was created."""
        copy = type(self).__new__(type(self), str(self) if message is None else message)
        copy.__dict__.update(self.__dict__, **attributes)
        return copy


class UsageError(ManycallError):
    """The command or the call is wrong. Raised before any request is sent."""

    exit_code = 2


class EndpointMissing(UsageError):
    """No endpoint is configured, or the key of one is missing. A dry run can do without."""


class RunStopped(ManycallError):
    """The run ended before all rows were processed. Finished rows are saved; the same command resumes.

    Attributes:
        rows_done: number of rows in the output.
        next_step: what to do, followed by the command that resumes.
    """

    rows_done = 0
    next_step: ClassVar[str] = "Fix the problem and resume with"


class Interrupted(RunStopped):
    """The user pressed Ctrl-C, or the process received SIGTERM."""

    exit_code = 130
    next_step = "Resume with"


class BudgetExceeded(RunStopped):
    """The token or dollar budget of the output is used up."""

    next_step = "Raise the budget and resume with"


class TimeLimitReached(RunStopped):
    """The time limit of the run was reached."""

    next_step = "Resume with"


class DailyQuotaExhausted(RunStopped):
    """The daily quota of the last key is used up. The message says when it is available again."""

    next_step = "When the quota is available again, resume with"


class InputChanged(RunStopped):
    """The input file has changed since its rows were checked, so that ids may no longer be unique."""

    next_step = "When the file is complete, resume with"


class StorageError(ManycallError):
    """Files on disk cannot be read or written."""


class SettingsMismatch(StorageError):
    """The output was created with another prompt, model or parameter.

    Attributes:
        from_: the output whose journal can answer calls of the new settings; None if there is none.
    """

    from_: str | None = None

    exit_code = 2


class OutputLocked(StorageError):
    """Another process is writing this output."""

    exit_code = 2


class SegmentInUse(OutputLocked):
    """A worker of a killed run still has calls in flight, and writes them to its segment."""


class CorruptFile(StorageError):
    """A file is damaged in the middle, which a crash of manycall cannot cause."""


class RowRejected(ManycallError):
    """Raised by a row function to reject its row. The row goes to rejected.jsonl and is not processed again.

    Args:
        reason: why the row is rejected.
        fields: fields to store with the rejected row. One called `reason` is replaced by the reason.
    """

    def __init__(self, reason: str, /, **fields: Any) -> None:
        super().__init__(reason)
        self.fields = fields


class CallError(ManycallError):
    """One call produced no answer.

    Attributes:
        possibly_billed: the server may have done the work and charged for it.
        attempts: number of attempts.
        body: the response body, if there was a response.
        failure_class: why the last attempt failed; None if the error is not due to an attempt.
    """

    possibly_billed: bool = False
    failure_class: FailureClass | None = None

    def __init__(self, message: str, *, body: bytes = b"") -> None:
        super().__init__(message)
        self.body = body
        self.attempts = 1


class TransportError(CallError):
    """There was no complete response."""


class ConnectError(TransportError):
    """No connection was established (refused, unknown host, no route): the server has received nothing."""


class CertificateError(ConnectError):
    """The server's certificate is not trusted."""


class ConnectionLost(TransportError):
    """The connection was lost after the request was sent, or perhaps sent."""

    possibly_billed = True


class AttemptTimeout(TransportError):
    """There was no complete response within the timeout."""

    possibly_billed = True


class IncompleteResponse(TransportError):
    """The response ended early, or could not be parsed as HTTP."""

    possibly_billed = True


class ResponseTooLarge(IncompleteResponse):
    """The response exceeds the size limit. It is not retried: the next would be as long and cost as much."""


CLIENT_CLOSED_REQUEST = 499
"""Status of a call that the server ended before the answer was complete, although it may charge for it."""


class HttpStatusError(CallError):
    """The server responded with an error status.

    Attributes:
        status: the HTTP status.
        code: the provider's error code or type in lower case; "" if there is none.
        retry_after: seconds to wait, as the server requests; None if it does not.
        should_retry: whether the server says that the call should be sent again; None if it says nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        retry_after: float | None = None,
        should_retry: bool | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message, body=body)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.should_retry = should_retry
        if status == CLIENT_CLOSED_REQUEST:
            self.possibly_billed = True


class ErrorInStream(HttpStatusError):
    """The server reported an error in a stream that had begun. It may charge for what it had written."""

    possibly_billed = True


class InvalidResponse(CallError):
    """A response with status 200 that contains no answer."""

    possibly_billed = True


class EmptyCompletion(InvalidResponse):
    """The text of the answer is empty. An empty text never counts as an answer."""


class ReasoningOnly(EmptyCompletion):
    """The model wrote thinking text and then ended without an answer."""


class MaxTokensReached(InvalidResponse):
    """max_tokens was reached during reasoning, before any text."""


class AnswerInvalid(InvalidResponse):
    """The answer is still invalid after all repeated requests: not JSON, not valid for the schema, or not a number on
    the scale."""


class ContentFiltered(InvalidResponse):
    """A content filter removed the answer."""


class Declined(InvalidResponse):
    """The model declined to answer, with the reason in `message.refusal`."""
