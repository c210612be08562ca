"""The calls that a model supports: chat, complete, embed."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from manycall import errors
from manycall.records import Completion, Embeddings, Messages, Request

T = TypeVar("T")
ModelReply = Completion | Embeddings
SendMessages = Callable[[Messages], Awaitable[Completion]]
IN_FULL = "Answer again, in full, and with nothing else."


class LLM:
    """The calls that a model supports. `Client` and the `llm` of a row function are subclasses.

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
            prompt: the user's message, or a list of messages (dicts with role and content).
            model: another model at the same endpoints; default: the client's model.
            params: further parameters of the request: temperature, max_tokens, stop, ... They override the parameters
                of the client.

        Raises:
            CallError: there is no answer after all retries.
            RunStopped: no call can succeed because of the key, the model, the quota or the URL.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        answer = await self._call(Request("chat", model or self.model, messages, {**self.params, **params}))
        assert isinstance(answer, Completion)
        return answer

    async def complete(self, prompt: str, *, model: str = "", **params: Any) -> Completion:
        """Ask for a text completion (base models). Otherwise like `chat`."""
        answer = await self._call(Request("completions", model or self.model, prompt, {**self.params, **params}))
        assert isinstance(answer, Completion)
        return answer

    async def embed(self, texts: str | list[str], *, model: str = "", **params: Any) -> Embeddings:
        """Ask for embeddings. The client's own parameters are for text calls and are not sent.

        Args:
            texts: one text, or several texts of one request.
            model: another model at the same endpoints; default: the client's model.
            params: parameters of the request: dimensions, encoding_format, ...

        Raises:
            CallError: there is no answer after all retries, or it does not have one vector for each text.
            RunStopped: no call can succeed because of the key, the model, the quota or the URL.
        """
        answer = await self._call(Request("embeddings", model or self.model, texts, params))
        assert isinstance(answer, Embeddings)
        expected = 1 if isinstance(texts, str) else len(texts)
        if len(answer.vectors) != expected:
            raise errors.InvalidResponse(f"{len(answer.vectors)} vectors for {expected} texts", body=answer.body)
        if not all(answer.vectors):
            raise errors.EmptyCompletion("An embedding in the response is empty.", body=answer.body)
        return answer

    async def send(self, request: Request) -> ModelReply:
        """Send a request unchanged, to any model. The client's own parameters are not added."""
        return await self._call(request)

    async def find_journaled(self, requests: Iterable[Request]) -> ModelReply | None:
        """Return the journaled answer to the first of these requests that has one; None without a journal."""
        return None

    async def _call(self, request: Request) -> ModelReply:
        raise NotImplementedError
