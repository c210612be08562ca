"""The calls of one row: answered from the journal if possible, else sent and journaled before they are decoded."""

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from manycall import clock, errors
from manycall.client.attempt import Answered
from manycall.client.call_counters import CallCounters
from manycall.client.encoded_call import EncodedCall, encode_call
from manycall.client.pool_names import PoolNames
from manycall.client.requests import LLM, ModelReply
from manycall.errors import CallError, ManycallError, RunStopped, StorageError, UsageError
from manycall.records import Completion, Request
from manycall.store.journal import Journal

MAX_KEPT_BODY_BYTES = 64 << 10
"""Bytes kept of a row's last response, for its failure record. Many rows may wait for a retry, so it is limited."""

REFUSED_SECONDS = 0.1
"""Delay before a row that may make no more calls gets the next exception."""


class CallOrigin(msgspec.Struct, frozen=True, gc=False):
    """Where a call comes from: its row, and its occurrence number among the row's identical requests, from 1."""

    row_id: str
    occurrence: int


class JournalLog:
    """Writes the responses of a job's calls to the journal.

    Args:
        model: the run's model; other models are named in the journal.
        names_endpoints: whether the journal names the endpoint of each call.
    """

    def __init__(self, journal: Journal, model: str = "", *, names_endpoints: bool = False) -> None:
        self._journal, self._model, self._names_endpoints = journal, model, names_endpoints
        self._wall_time = clock.running_wall_clock()

    def append(self, origin: CallOrigin, call: EncodedCall, response: Answered) -> None:
        """Write one response.

        Raises:
            StorageError: it could not be written.
        """
        endpoint = response.endpoint.name if self._names_endpoints else ""
        model = "" if call.model == self._model else call.model
        earlier = response.earlier
        statuses = () if earlier is None else tuple(earlier.statuses)
        waited = None if earlier is None else round(earlier.waited, 3)
        self._journal.append(
            origin.row_id, call.key, origin.occurrence, response.body,
            self._wall_time(), response.seconds, response.ttft, endpoint, model, statuses, waited,
        )  # fmt: skip


class Replays(Protocol):
    """Journaled responses: a `Journal`, or the journal of another output."""

    @property
    def has_replays(self) -> bool: ...
    def replay(self, row_id: str, key: str, occurrence: int) -> bytes | None: ...


class RowCalls(Protocol):
    """What a row needs of a `JobClient`."""

    model: str
    params: dict[str, Any]
    pools: PoolNames
    counters: CallCounters

    @property
    def had_success(self) -> bool: ...

    async def call(self, call: EncodedCall, priority: int, origin: Any = None) -> ModelReply: ...
    def stop(self, why: ManycallError) -> None: ...
    def decode(self, call: EncodedCall, body: bytes, replayed: bool = False) -> ModelReply: ...


class RowClient(LLM):
    """The `llm` that a row function gets: a client whose calls belong to one row.

    Args:
        client: makes the calls of the job (JobClient).
        age: position of the row in the run; calls of older rows go first.
        journal: the completed calls of earlier sessions.

    Attributes:
        calls_made: number of calls of the row, including replayed ones.
        tokens: completion tokens of the answers that were not replayed.
        last_body: the start of the last response for this row.
        last_call: the last call: (key, occurrence number), as the journal knows it.
        has_sent: a call was not answered from the journal.
        truncated: an answer was truncated at max_tokens.
        stopped: a call was not made because the run stops. The result of the function is discarded.
        over: the function has returned. Tasks that it left behind can make no calls.
    """

    def __init__(self, client: RowCalls, row_id: str, age: int, journal: Replays) -> None:
        self.model, self.params, self.pools = client.model, client.params, client.pools  # for each row: no super()
        self._client, self._id, self._age, self._journal = client, row_id, age, journal
        self._occurrences: dict[str, int] = {}
        self.calls_made = self.tokens = 0
        self.last_body = b""
        self.last_call = ("", 0)
        self.has_sent = self.truncated = self.stopped = self.over = False

    def __repr__(self) -> str:
        return f"<llm for row {self._id}, {self.calls_made} calls made>"

    @property
    def any_success(self) -> bool:
        """Whether a call of the job was answered, in this session or before it."""
        return self._client.had_success or self._client.counters.calls > 0

    def end(self) -> None:
        """Make no more calls, because the row function has returned."""
        self.over = True

    def find_pool(self, endpoint: str) -> tuple[str, str]:
        """Return the pool that a call means, and its model. A name that no endpoint has stops the run."""
        try:
            return super().find_pool(endpoint)
        except UsageError as unknown:
            self._stop(unknown)
            raise

    async def send(self, request: Request) -> ModelReply:
        """Send a request unchanged, or answer it from the journal."""
        if self.stopped or self.over:
            await clock.sleep(REFUSED_SECONDS)  # a function that retries without end must not keep the loop busy
            if self.over:
                raise UsageError(
                    "A task made a call after its row function had returned. Await all tasks in the function."
                )
        self.calls_made += 1
        call = encode_call(request)
        occurrence = self._occurrences[call.key] = self._occurrences.get(call.key, 0) + 1
        self.last_call = call.key, occurrence
        try:
            stored = self._journal.replay(self._id, call.key, occurrence)
            answer = None if stored is None else self._read_stored(call, stored)
            if answer is None:
                self.has_sent = True
                answer = await self._client.call(call, self._age, CallOrigin(self._id, occurrence))
                self.tokens += answer.usage.completion_tokens
                self.last_body = answer.body[:MAX_KEPT_BODY_BYTES]
                if isinstance(answer, Completion) and answer.truncated:
                    self.truncated = True
        except CallError as error:
            self._keep(error.body)
            raise
        except RunStopped:
            self.stopped = True
            raise
        except StorageError as error:
            self._stop(error)
            raise
        return answer

    async def find_journaled(self, requests: Iterable[Request]) -> ModelReply | None:
        """Return the journaled answer to the first of these requests that has one; None if none has."""
        if not self._journal.has_replays or self.stopped or self.over:
            return None
        for request in requests:
            call = encode_call(request)
            occurrence = self._occurrences.get(call.key, 0) + 1
            try:
                stored = self._journal.replay(self._id, call.key, occurrence)
            except StorageError as error:
                self._stop(error)
                raise
            answer = None if stored is None else self._read_stored(call, stored)
            if answer is not None:
                self._occurrences[call.key] = occurrence
                self.calls_made += 1
                return answer
        return None

    def _stop(self, error: ManycallError) -> None:
        self._client.stop(error)  # the row function may suppress the exception
        self.stopped = True

    def _keep(self, body: bytes) -> None:
        if body:
            self.last_body = body[:MAX_KEPT_BODY_BYTES]

    def _read_stored(self, call: EncodedCall, body: bytes) -> ModelReply | None:
        """Return the answer in a response from the journal; None if it has none."""
        self._keep(body)
        try:
            answer = self._client.decode(call, body, replayed=True)
        except errors.InvalidResponse:
            return None
        self.truncated |= isinstance(answer, Completion) and answer.truncated
        self._client.counters.record_replay()
        return answer
