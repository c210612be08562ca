"""One row's calls: each journaled before anything looks into it, and answered from the journal if it can be."""

from collections.abc import Callable

from manycall import clock, errors
from manycall.engine.calls import Answer, Calls
from manycall.engine.client import Client
from manycall.errors import RunStopped, StoreError, UsageError
from manycall.records import Completion, Request
from manycall.store.journal import Journal, request_key
from manycall.wire import openai

LONGEST_RAW = 64 << 10
"""Bytes of a row's last reply that are kept for its failure: many rows may wait to be sent again."""

REFUSED_SECONDS = 0.1
"""Before a row that was refused a call is refused another."""


class RowCalls(Calls):
    """The `llm` that a row function gets: a client whose calls belong to one row.

    Args:
        age: the row's place in the run; an older row's calls go first.
        end: ends the run. The row function may suppress that the disk failed, so it is not left to that.

    Attributes:
        made: how many calls the row has made, replayed ones included; tokens: of their answers.
        raw: what the server said last for this row.
        sent: a call of it was not answered from the journal.
        truncated: an answer was cut at max_tokens.
        cut: a call was not made because the run stops; whatever the function made of that is void.
        over: the function has returned; tasks that it left behind can make no call.
    """

    def __init__(
        self, client: Client, row_id: str, age: int, journal: Journal, end: Callable[[StoreError], None]
    ) -> None:
        super().__init__(client.model, client.params)
        self._client, self._id, self._age, self._journal, self._end = client, row_id, age, journal, end
        self._times: dict[str, int] = {}
        self.made = self.tokens = 0
        self.raw = b""
        self.sent = self.truncated = self.cut = self.over = False

    def __repr__(self) -> str:
        return f"<llm for row {self._id}, {self.made} calls made>"

    async def _call(self, request: Request) -> Answer:
        if self.cut or self.over:
            await clock.sleep(REFUSED_SECONDS)  # a function that retries without end must not keep the loop busy
        if self.over:
            raise UsageError("a row's task called after its function had returned: let the function await its tasks")
        self.made += 1
        body = openai.encode(request)
        key = request_key(request.api, body)
        nth = self._times[key] = self._times.get(key, 0) + 1

        def keep(reply: bytes, seconds: float) -> None:
            self.raw = reply[:LONGEST_RAW]
            try:
                self._journal.append(self._id, key, nth, reply, at=clock.wall(), seconds=seconds)
            except StoreError as error:
                self._end(error)
                raise

        answer = self._replay(request, key, nth)
        if answer is None:
            self.sent = True
            try:
                answer = await self._client.attempt(request, body, self._age, keep)
            except RunStopped:
                self.cut = True
                raise
            self.tokens += answer.usage.completion_tokens
        self.truncated |= isinstance(answer, Completion) and answer.truncated
        return answer

    def _replay(self, request: Request, key: str, nth: int) -> Answer | None:
        """The answer to this call that an earlier run has paid for, if it has one that can be used."""
        try:
            reply = self._journal.replay(self._id, key, nth)
        except StoreError as error:
            self._end(error)
            raise
        if reply is None:
            return None
        self.raw = reply[:LONGEST_RAW]
        try:
            answer = openai.decode(request.api, reply, replayed=True)
        except errors.BadReply:
            return None
        self._client.counters.replayed += 1
        return answer
