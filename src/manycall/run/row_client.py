"""The calls of one row: answered from the journal if possible, else sent and journaled before they are decoded."""

from typing import NamedTuple

from manycall import clock, errors
from manycall.client.attempt import Answered
from manycall.client.encoded_call import EncodedCall, encode_call
from manycall.client.job_client import JobClient
from manycall.client.requests import LLM, ModelReply
from manycall.errors import CallError, RunStopped, StorageError, UsageError
from manycall.records import Completion, Request
from manycall.store.journal import Journal

MAX_KEPT_BODY_BYTES = 64 << 10
"""Bytes kept of a row's last response, for its failure record. Many rows may wait for a retry, so it is limited."""

REFUSED_SECONDS = 0.1
"""Delay before a row that may make no more calls gets the next exception."""


class CallOrigin(NamedTuple):
    """Where a call comes from: its row, and its occurrence number among the row's identical requests, from 1."""

    row_id: str
    occurrence: int


class JournalLog:
    """Writes the responses of a job's calls to the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def append(self, origin: CallOrigin, call: EncodedCall, response: Answered) -> None:
        """Write one response.

        Raises:
            StorageError: it could not be written.
        """
        self._journal.append(
            origin.row_id, call.key, origin.occurrence, response.body,
            at=clock.wall_time(), seconds=response.seconds, ttft=response.ttft,
        )  # fmt: skip


class RowClient(LLM):
    """The `llm` that a row function gets: a client whose calls belong to one row.

    Args:
        client: makes the calls of the job.
        age: position of the row in the run; calls of older rows go first.
        journal: the completed calls of earlier sessions.

    Attributes:
        calls_made: number of calls of the row, including replayed ones.
        tokens: completion tokens of the answers that were not replayed.
        last_body: the start of the last response for this row.
        has_sent: a call was not answered from the journal.
        truncated: an answer was truncated at max_tokens.
        stopped: a call was not made because the run stops. The result of the function is discarded.
        over: the function has returned. Tasks that it left behind can make no calls.
    """

    def __init__(self, client: JobClient, row_id: str, age: int, journal: Journal) -> None:
        super().__init__(client.model, client.params)
        self._client, self._id, self._age, self._journal = client, row_id, age, journal
        self._occurrences: dict[str, int] = {}
        self.calls_made = self.tokens = 0
        self.last_body = b""
        self.has_sent = self.truncated = self.stopped = self.over = False

    def __repr__(self) -> str:
        return f"<llm for row {self._id}, {self.calls_made} calls made>"

    def end(self) -> None:
        """Make no more calls, because the row function has returned."""
        self.over = True

    async def _call(self, request: Request) -> ModelReply:
        if self.stopped or self.over:
            await clock.sleep(REFUSED_SECONDS)  # a function that retries without end must not keep the loop busy
        if self.over:
            raise UsageError("A task made a call after its row function had returned. Await all tasks in the function.")
        self.calls_made += 1
        call = encode_call(request)
        occurrence = self._occurrences[call.key] = self._occurrences.get(call.key, 0) + 1
        try:
            answer = self._replay(call, occurrence)
            if answer is None:
                self.has_sent = True
                answer = await self._client.call(call, self._age, CallOrigin(self._id, occurrence))
                self.tokens += answer.usage.completion_tokens
        except CallError as error:
            self._keep(error.body)
            raise
        except (RunStopped, StorageError):
            self.stopped = True
            raise
        self.last_body = answer.body[:MAX_KEPT_BODY_BYTES]
        self.truncated |= isinstance(answer, Completion) and answer.truncated
        return answer

    def _keep(self, body: bytes) -> None:
        if body:
            self.last_body = body[:MAX_KEPT_BODY_BYTES]

    def _replay(self, call: EncodedCall, occurrence: int) -> ModelReply | None:
        """Return the answer to this call from the journal; None if there is no usable one."""
        try:
            body = self._journal.replay(self._id, call.key, occurrence)
        except StorageError as error:
            self._client.stop(error)  # the row function may suppress the exception
            raise
        if body is None:
            return None
        self._keep(body)
        try:
            answer = self._client.decode(call, body, replayed=True)
        except errors.InvalidResponse:
            return None
        self._client.counters.record_replay()
        return answer
