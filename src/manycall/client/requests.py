"""The calls that a model supports: chat, complete, embed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from manycall import errors
from manycall.client.pool_names import ONE_POOL, PoolNames
from manycall.providers.parameter_lesson import with_defaults
from manycall.records import Api, Completion, Embeddings, Messages, Request

ModelReply = Completion | Embeddings
SendMessages = Callable[[Messages], Awaitable[Completion]]


class LLM:
    """The calls that a model supports. `Client` and the `llm` of a row function are subclasses.

    Args:
        model: the model's name.
        params: sent with every text call.
        pools: the pools of endpoints that calls may name.
    """

    def __init__(self, model: str, params: dict[str, Any], pools: PoolNames = ONE_POOL) -> None:
        self.model = model
        self.params = params
        self.pools = pools

    def find_pool(self, endpoint: str) -> tuple[str, str]:
        """Return the name of the pool that a call means, "" for the default pool, and the pool's model.

        Raises:
            UsageError: no endpoint has this name.
        """
        return self.pools.find(endpoint, self.model)

    async def chat(self, prompt: str | Messages, *, model: str = "", endpoint: str = "", **params: Any) -> Completion:
        """Ask for a chat completion.

        Args:
            prompt: the user's message, or a list of messages (dicts with role and content).
            model: another model at the same endpoints; default: the client's model, or that of the named endpoint.
            endpoint: name of an endpoint, or of several that form one pool, in endpoints.toml; default: the pool of
                calls without a name.
            params: further parameters of the request: temperature, max_tokens, stop, ... They override the parameters
                of the client.

        Raises:
            CallError: there is no answer after all retries.
            RunStopped: no call can succeed because of the key, the model, the quota or the URL.
            UsageError: no endpoint has this name. In a row function, the run stops.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        answer = await self.send(text_request(self, "chat", messages, params, endpoint, model))
        assert isinstance(answer, Completion)
        return answer

    async def complete(self, prompt: str, *, model: str = "", endpoint: str = "", **params: Any) -> Completion:
        """Ask for a text completion (base models). Otherwise like `chat`."""
        answer = await self.send(text_request(self, "completions", prompt, params, endpoint, model))
        assert isinstance(answer, Completion)
        return answer

    async def embed(self, texts: str | list[str], *, model: str = "", endpoint: str = "", **params: Any) -> Embeddings:
        """Ask for embeddings. The client's own parameters are for text calls and are not sent.

        Args:
            texts: one text, or several texts of one request.
            model: another model at the same endpoints; default: the client's model.
            endpoint: see `chat`.
            params: parameters of the request: dimensions, encoding_format, ...

        Raises:
            CallError: there is no answer after all retries, or it does not have one vector for each text.
            RunStopped: no call can succeed because of the key, the model, the quota or the URL.
        """
        pool, own = self.find_pool(endpoint) if endpoint else ("", self.model)
        answer = await self.send(Request("embeddings", model or own, texts, params, pool=pool))
        assert isinstance(answer, Embeddings)
        expected = 1 if isinstance(texts, str) else len(texts)
        if len(answer.vectors) != expected:
            raise errors.InvalidResponse(f"{len(answer.vectors)} vectors for {expected} texts", body=answer.body)
        if not all(answer.vectors):
            raise errors.EmptyCompletion("An embedding in the response is empty.", body=answer.body)
        return answer

    async def send(self, request: Request) -> ModelReply:
        """Send a request unchanged, to any model. The client's own parameters are not added."""
        raise NotImplementedError

    async def find_journaled(self, requests: Iterable[Request]) -> ModelReply | None:
        """Return the journaled answer to the first of these requests that has one; None without a journal."""
        return None


def text_request(
    llm: LLM, api: Api, content: Messages | str, params: Mapping[str, Any], endpoint: str = "", model: str = ""
) -> Request:
    """Return the request of a text call. Its parameters override those of the client; see also `LLM.chat`.

    Raises:
        UsageError: no endpoint has this name.
    """
    pool, own = llm.find_pool(endpoint) if endpoint else ("", llm.model)
    merged = with_defaults(params, llm.params) if params else {**llm.params}
    return Request(api, model or own, content, merged, "compact", pool)
