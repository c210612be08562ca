"""What can be asked of a model: chat, complete, embed."""

from typing import Any

from manycall import errors
from manycall.records import Completion, Embeddings, Messages, Request

Answer = Completion | Embeddings


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
