"""Messages between a driver and its workers.

A worker sends a `Report` once a second, and at once if it needs something. The driver answers with a `Grant`, and sends
one without being asked if something is urgent. Both contain totals, not differences: a message that is lost, late or
doubled does no harm, because the next one says the same. Orders about rows are repeated until they are confirmed
(control/work_units.py).
"""

from typing import Any

import msgspec

from manycall import errors
from manycall.client.leases import EndpointReport, EndpointShare
from manycall.cluster.mirrored_link import FolderMark
from manycall.control.amounts import AmountUse
from manycall.control.work_units import ReturnRequest, RowsReport
from manycall.errors import ManycallError, RunStopped, StorageError, UsageError
from manycall.providers.parameter_lesson import ParameterChange
from manycall.records import Fields
from manycall.run.endpoint_spending import EndpointSpending
from manycall.store.journal_line import SentCall


class SentRow(msgspec.Struct, frozen=True, array_like=True):
    """A row for a worker, with its calls that are in a journal."""

    id: str
    fields: Fields
    index: int
    sample: int
    calls: list[SentCall] = []


class SentUnit(msgspec.Struct, frozen=True, array_like=True):
    """A unit of rows for a worker (control/work_units.py)."""

    number: int
    rows: list[SentRow]


class StopReason(msgspec.Struct, frozen=True, array_like=True):
    """Why no more calls are made: the name of an exception of `manycall.errors`, and its message."""

    kind: str
    message: str


class Setup(msgspec.Struct, frozen=True):
    """The first message of a driver.

    Attributes:
        segment: number of the worker's segment.
        run_folder: path of the run folder.
        mark: by which a worker recognises that folder (mirrored_link.py).
        is_local: the worker runs on the driver's machine.
        sims: the URLs of the simulated endpoints that the driver has started, in the order of the endpoints.
        key_marks: a keyed hash of each endpoint's key.
        salt: the key of that hash.
        had_success, had_rows: what is known of earlier sessions (`CallCounters`).
        expected_rows: about how many rows the worker will get; 0 if it is unknown.
    """

    segment: int
    run_folder: str
    mark: FolderMark | None
    is_local: bool
    sims: list[str]
    key_marks: dict[str, str]
    salt: bytes
    had_success: bool
    had_rows: bool
    expected_rows: int


class Grant(msgspec.Struct, frozen=True):
    """What a worker may do, and its new rows.

    Attributes:
        serial: number of the grant, from 1. A worker ignores a grant that is older than the last one.
        answers: number of the newest report that the driver has received, to which the lease refers.
        had_success: a call of the run was answered.
        units: the units of rows that the worker has not confirmed.
        give_back: the request to return rows that the worker has not confirmed.
        shares: the worker's shares of the endpoints, by name.
        concurrency: the worker's part of -j; None if the workers adapt the concurrency.
        allowances: what the worker's calls may use of each budget, since its start.
        stop: begin no more calls, for this reason.
        cancel: cancel the calls in flight, too.
        finish: there will be no more rows.
    """

    serial: int
    answers: int
    had_success: bool
    units: list[SentUnit]
    give_back: ReturnRequest | None
    shares: dict[str, EndpointShare]
    concurrency: int | None
    allowances: list[float]
    stop: StopReason | None = None
    cancel: bool = False
    finish: bool = False


class WorkerFigures(msgspec.Struct, frozen=True):
    """What a worker shows of itself.

    Attributes:
        counters: the fields of its CallCounters.
        cost: the cost of its calls.
        spending: what its calls have used at each endpoint.
        counts: additional counts of the job.
        status: calls in flight, window and what limits the speed.
        bound_seconds, bound_detail: for how long the process has limited the calls, and the worst load in that time.
        oldest: the calls that have been in flight for the longest time.
        parameter_changes: how it has changed parameters.
        first_retried: the first retried error of each kind.
    """

    counters: dict[str, Any] = {}
    cost: float = 0.0
    spending: list[EndpointSpending] = []
    counts: dict[str, int] = {}
    status: tuple[int, int, str] = (0, 0, "")
    bound_seconds: float = 0.0
    bound_detail: str = ""
    oldest: list[dict[str, Any]] = []
    parameter_changes: list[ParameterChange] = []
    first_retried: dict[str, str] = {}


class Report(msgspec.Struct, frozen=True):
    """What a worker has done, and what it needs.

    Attributes:
        serial: number of the report, from 1. The driver ignores a report that is older than the last one.
        answers: number of the newest grant that the worker has applied.
        rows: what has become of its orders about rows.
        begun: number of rows that it has begun.
        working: number of rows that it has begun and not ended.
        endpoints: what it knows of the endpoints, by name.
        used: what its calls have used of each budget.
        figures: what it shows of itself.
        lines: lines for the timeline, each sent once.
        had_success: a call was answered.
        stopped: why it makes no more calls; None while it does.
        ended: this is the last report. Its files are closed.
    """

    serial: int
    answers: int = 0
    rows: RowsReport = RowsReport()
    begun: int = 0
    working: int = 0
    endpoints: dict[str, EndpointReport] = {}
    used: list[AmountUse] = []
    figures: WorkerFigures = WorkerFigures()
    lines: list[dict[str, Any]] = []
    had_success: bool = False
    stopped: StopReason | None = None
    ended: bool = False


_encoder = msgspec.msgpack.Encoder()
_grants = msgspec.msgpack.Decoder(Grant)
_reports = msgspec.msgpack.Decoder(Report)
_setups = msgspec.msgpack.Decoder(Setup)
encode_message = _encoder.encode
decode_grant = _grants.decode
decode_report = _reports.decode
decode_setup = _setups.decode


def error_of(reason: StopReason) -> ManycallError:
    """Return the exception that a stop reason names."""
    kind = getattr(errors, reason.kind, RunStopped)
    return (
        kind(reason.message) if issubclass(kind, RunStopped | StorageError | UsageError) else RunStopped(reason.message)
    )


def reason_of(error: BaseException) -> StopReason:
    """Return an exception as a stop reason."""
    if isinstance(error, ManycallError):
        return StopReason(type(error).__name__, str(error))
    return StopReason(RunStopped.__name__, f"a bug in manycall: {error!r}")


def failure_message(error: ManycallError) -> bytes:
    """Return the only report of a worker that cannot begin."""
    return encode_message(Report(1, stopped=reason_of(error), ended=True))
