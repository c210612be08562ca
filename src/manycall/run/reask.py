"""Repeat a request, with the validation error, until an answer is valid."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from manycall.client.requests import SendMessages
from manycall.errors import AnswerInvalid
from manycall.option_flags import option
from manycall.records import Completion, Messages

T = TypeVar("T")
ReaskCounts = dict[str, int]
ReadAnswer = Callable[[str], Awaitable[T]]
"""Reads an answer; raises ValueError with a message for the model."""


REASK_COUNTS = "re-asked"
IN_FULL = "Answer again, in full, and with nothing else."


async def ask_until_valid(
    messages: Messages, send: SendMessages, read: ReadAnswer[T], reask: int, tally: ReaskCounts, less: str = ""
) -> tuple[T, Completion]:
    """Return the first answer that `read` accepts, and its reply. After an invalid answer, ask again with the error.

    Only answers of this session count towards `reask`: a row that failed may ask again in the next session.

    Args:
        read: reads an answer, see `ReadAnswer`.
        reask: maximum number of repeated requests.
        tally: counts the repeated requests under REASK_COUNTS.
        less: a short instruction for the repeated request. With it, a truncated answer is also asked for again.

    Raises:
        AnswerInvalid: no answer was valid.
    """
    asked, tried = 0, messages
    while True:
        reply = await send(tried)
        try:
            return await read(reply.text), reply
        except ValueError as error:
            why = str(error)[:1000]
        if reply.truncated:
            why = f"cut at max_tokens before it was whole ({why})"
            if not less:
                raise AnswerInvalid(f"{why}: raise {option('max_tokens')}", body=reply.body)
        asked += not reply.replayed
        if asked > reask:
            calls = f"{reask + 1} calls" if reask else "1 call"
            remedy = f": raise {option('max_tokens')}" if reply.truncated else ""
            raise AnswerInvalid(f"No valid answer after {calls}. Last error: {why}{remedy}", body=reply.body)
        if not reply.replayed:
            tally[REASK_COUNTS] = tally.get(REASK_COUNTS, 0) + 1
        again = f"That cannot be used: {why}. {less or IN_FULL}"
        tried = [*messages, {"role": "assistant", "content": reply.text}, {"role": "user", "content": again}]


def read_at_once(parse: Callable[[str], T]) -> ReadAnswer[T]:
    """Return a function that reads answers with a parser that takes linear time."""

    async def read(text: str) -> T:
        return parse(text)

    return read


def append_text(messages: Messages, text: str, at: int = -1) -> Messages:
    """Return the messages with a text appended to one of them; default: the last."""
    content = messages[at].get("content")
    longer = [*content, {"type": "text", "text": text}] if isinstance(content, list) else f"{content}\n\n{text}"
    extended = list(messages)
    extended[at] = {**extended[at], "content": longer}
    return extended
