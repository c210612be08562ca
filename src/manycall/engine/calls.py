"""What can be asked of a model: chat, complete, embed; and again, where the answer does not fit."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from manycall import errors
from manycall.errors import Misshapen
from manycall.records import Completion, Embeddings, Messages, Request

T = TypeVar("T")
Answer = Completion | Embeddings
Send = Callable[[Messages], Awaitable[Completion]]
Tally = dict[str, int]
RE_ASKED = "re-asked"
IN_FULL = "Answer again, in full, and with nothing else."


class Calls:
    """What can be asked of a model. `Client` and the `llm` of a row function are both this.

    Args:
        model: the model's name.
        params: sent with every text call.
    """

    def __init__(self, model: str, params: dict[str, Any]) -> None:
        self.model = model
        self.params = params

    async def chat(self, prompt: str | Messages, *, model: str = "", **params: Any) -> Completion:
        """Ask for a chat completion.

        Args:
            prompt: the user's message, or whole messages (dicts with role and content).
            model: another one than the client's, at the same endpoints.
            params: what the body holds besides: temperature, max_tokens, stop, ...; they override those
                that the client was made with.

        Raises:
            CallFailed: there is no answer, after all the attempts that the failure deserved.
            RunStopped: no call can succeed: the key, the model, the quota, the address.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        answer = await self._call(Request("chat", model or self.model, messages, {**self.params, **params}))
        assert isinstance(answer, Completion)
        return answer

    async def complete(self, prompt: str, *, model: str = "", **params: Any) -> Completion:
        """Ask for a raw completion (base models). Otherwise as `chat`."""
        answer = await self._call(Request("completions", model or self.model, prompt, {**self.params, **params}))
        assert isinstance(answer, Completion)
        return answer

    async def embed(self, texts: str | list[str], *, model: str = "", **params: Any) -> Embeddings:
        """Ask for embeddings. The client's own parameters are for text and do not go along."""
        answer = await self._call(Request("embeddings", model or self.model, texts, params))
        assert isinstance(answer, Embeddings)
        wanted = 1 if isinstance(texts, str) else len(texts)
        if len(answer.vectors) != wanted:
            raise errors.BadReply(f"{len(answer.vectors)} vectors for {wanted} texts", body=answer.body)
        return answer

    async def ask(self, request: Request) -> Answer:
        """Any request as it stands, of whatever model. The client's own parameters do not go along."""
        return await self._call(request)

    async def _call(self, request: Request) -> Answer:
        raise NotImplementedError


async def fitting(
    messages: Messages, send: Send, read: Callable[[str], T], reask: int, tally: Tally, less: str = ""
) -> T:
    """What the first answer says that `read` can read; each that it cannot is asked for again, with the reason.

    Only answers of this session are counted: a row that failed has its chances again in the next.

    Args:
        read: raises a ValueError, which says why, for the model to read.
        reask: how often it is asked for again.
        tally: counts how often it was.
        less: what is asked for then, if that is less than the whole answer: so even one that was cut has its chance.

    Raises:
        Misshapen: none could be read.
    """
    asked, tried = 0, messages
    while True:
        reply = await send(tried)
        try:
            return read(reply.text)
        except ValueError as error:
            why = str(error)[:1000]
        if reply.truncated:
            why = f"cut at max_tokens before it was whole ({why})"
            if not less:
                raise Misshapen(f"{why}: raise --max-tokens", body=reply.body)
        asked += not reply.replayed
        if asked > reask:
            raise Misshapen(f"asked {reask + 1} times, and still: {why}", body=reply.body)
        tally[RE_ASKED] = tally.get(RE_ASKED, 0) + (not reply.replayed)
        again = f"That cannot be used: {why}. {less or IN_FULL}"
        tried = [*messages, {"role": "assistant", "content": reply.text}, {"role": "user", "content": again}]


def added(messages: Messages, text: str, at: int = -1) -> Messages:
    """The same messages, with a text at the end of one of them: the last."""
    content = messages[at].get("content")
    longer = [*content, {"type": "text", "text": text}] if isinstance(content, list) else f"{content}\n\n{text}"
    made = list(messages)
    made[at] = {**made[at], "content": longer}
    return made
