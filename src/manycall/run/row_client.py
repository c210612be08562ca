"""The calls of one row: each response is journaled before it is decoded, and replayed from the journal if possible."""

from collections.abc import Callable

from manycall import clock, errors
from manycall.client.call_client import CallClient
from manycall.client.requests import LLM, ModelReply
from manycall.errors import RunStopped, StorageError, UsageError
from manycall.providers import openai
from manycall.records import Completion, Request
from manycall.store.journal import Journal, request_hash

MAX_KEPT_BODY_BYTES = 64 << 10
"""Bytes kept of a row's last response, for its failure record. Many rows may wait for a retry, so it is limited."""

REFUSED_SECONDS = 0.1
"""Delay before a row that may make no more calls gets the next exception."""


class RowClient(LLM):
    """The `llm` that a row function gets: a client whose calls belong to one row.

    Args:
        age: position of the row in the run; calls of older rows go first.
        end: stops the run after a disk error, because the row function may suppress the exception.

    Attributes:
        calls_made: number of calls of the row, including replayed ones.
        tokens: completion tokens of the answers that were not replayed.
        last_body: the start of the last response for this row.
        has_sent: a call was not answered from the journal.
        truncated: an answer was truncated at max_tokens.
        stopped: a call was not made because the run stops. The result of the function is discarded.
        over: the function has returned. Tasks that it left behind can make no calls.
    """

    def __init__(
        self, client: CallClient, row_id: str, age: int, journal: Journal, end: Callable[[StorageError], None]
    ) -> None:
        super().__init__(client.model, client.params)
        self._client, self._id, self._age, self._journal, self._end = client, row_id, age, journal, end
        self._times: dict[str, int] = {}
        self.calls_made = self.tokens = 0
        self.last_body = b""
        self.has_sent = self.truncated = self.stopped = self.over = False

    def __repr__(self) -> str:
        return f"<llm for row {self._id}, {self.calls_made} calls made>"

    async def _call(self, request: Request) -> ModelReply:
        if self.stopped or self.over:
            await clock.sleep(REFUSED_SECONDS)  # a function that retries without end must not keep the loop busy
        if self.over:
            raise UsageError("A task made a call after its row function had returned. Await all tasks in the function.")
        self.calls_made += 1
        body = openai.encode(request)
        key = request_hash(request.api, body)
        nth = self._times[key] = self._times.get(key, 0) + 1

        def keep(reply: bytes, seconds: float) -> None:
            self.last_body = reply[:MAX_KEPT_BODY_BYTES]
            try:
                self._journal.append(self._id, key, nth, reply, at=clock.wall_time(), seconds=seconds)
            except StorageError as error:
                self._end(error)
                raise

        answer = self._replay(request, key, nth)
        if answer is None:
            self.has_sent = True
            try:
                answer = await self._client.call(request, body, self._age, keep)
            except RunStopped:
                self.stopped = True
                raise
            self.tokens += answer.usage.completion_tokens
        self.truncated |= isinstance(answer, Completion) and answer.truncated
        return answer

    def _replay(self, request: Request, key: str, nth: int) -> ModelReply | None:
        """Return the answer to this call from the journal; None if there is no usable one."""
        try:
            reply = self._journal.replay(self._id, key, nth)
        except StorageError as error:
            self._end(error)
            raise
        if reply is None:
            return None
        self.last_body = reply[:MAX_KEPT_BODY_BYTES]
        try:
            answer = openai.decode(request.api, reply, replayed=True)
        except errors.InvalidResponse:
            return None
        self._client.counters.replayed += 1
        return answer
