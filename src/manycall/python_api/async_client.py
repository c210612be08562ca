"""`Client`: single calls and whole jobs for async programs and notebooks."""

import asyncio
import random
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.pool import ClientStatus
from manycall.client.requests import LLM, ModelReply
from manycall.data.answer_schema import SchemaLike
from manycall.data.prompt_template import PromptLike
from manycall.data.row_input import RowsLike
from manycall.errors import UsageError
from manycall.evals.eval_result import EvalResult
from manycall.evals.evaluate import evaluate_job
from manycall.evals.no_answer import NoAnswer
from manycall.evals.tasks.task import Task
from manycall.judging.judge import judge_job
from manycall.judging.judge_result import JudgeResult
from manycall.providers.prices import GivenPrice
from manycall.python_api.dispatch import resume_note
from manycall.python_api.loop_session import LoopSession, close_dropped
from manycall.python_api.temporary_folder import TemporaryFolder, output_path
from manycall.records import Request, Secret
from manycall.run.argument_types import check_types
from manycall.run.client_status import client_status
from manycall.run.job import Job
from manycall.run.map_rows import UserFunction, map_job
from manycall.run.options import (
    Reasoning,
    Retry,
    RunOptions,
    document_run_options,
    wrap_api_key,
)
from manycall.run.row_stream import RowStream, StreamState
from manycall.run.run_job import run_shared
from manycall.run.run_result import RunResult
from manycall.synth.call_checks import TextApi
from manycall.synth.generate import Parse, Variables, generate_job
from manycall.synth.prompt_call import DEFAULT_REASK
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS, Transport

R = TypeVar("R")

CLIENT_INITIAL_WINDOW = 512
"""Calls that may be in flight at the start: a `gather` of 500 calls should not wait for the window to open."""


class Client(LLM):
    """A client for OpenAI-compatible endpoints: `await llm.chat("hi")`, `async for result in llm.map(...)`.

    >>> import asyncio
    >>> async def main():
    ...     async with manycall.Client("any", base_url="sim") as llm:
    ...         return await llm.chat("Hi!", max_tokens=5)
    >>> asyncio.run(main()).truncated
    True

    It opens with the first call, so that it may live across the cells of a notebook; `aclose()` or `async with` closes
    it. All calls and jobs of a client share its connections, limits and permits. It may be used in several event loops;
    each has separate connections.

    Args:
        model: the model's name at the endpoint. Default: that of the endpoint in endpoints.toml.
        base_url: the endpoint or the name of a provider, or several (one pool), or "sim". Default: OPENAI_BASE_URL,
            endpoints.toml, OpenAI.
        endpoint: the name in endpoints.toml of the endpoints to use. Default: the endpoints without a name; if all have
            one, those with the first name.
        api_key: default: the variable of the provider; "" sends no key.
        plain_http: allow the key to be sent unencrypted (http) to another machine.
        concurrency: number of concurrent calls. Default: chosen and adjusted automatically.
        timeout: seconds for one attempt.
        idle_timeout: seconds without a byte after which a streamed response fails.
        params: sent with every text call: {"temperature": 0, "max_tokens": 512, …}.
        drop: names of parameters to omit, because the endpoint does not accept them.
        thinking: "on", "off", "low", "medium", "high" or the maximum number of thinking tokens. Default: the model's.
        transport: what carries the requests (`manycall.testing`). Default: HTTP.
        rng: random numbers for the waits between attempts.

    Raises:
        UsageError: an argument that cannot be used, or no endpoint.
    """

    def __init__(
        self,
        model: str = "",
        *,
        base_url: str | Sequence[str] | None = None,
        endpoint: str | None = None,
        api_key: str | Secret | None = None,
        plain_http: bool = False,
        concurrency: int | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT_SECONDS,
        params: Mapping[str, Any] | None = None,
        drop: str | Sequence[str] | None = None,
        thinking: str | int | None = None,
        transport: Transport | None = None,
        rng: random.Random | None = None,
    ) -> None:
        api_key = wrap_api_key(api_key)
        check_types({
            "model": model, "concurrency": concurrency, "timeout": timeout, "idle_timeout": idle_timeout,
            "params": params,
        })  # fmt: skip
        super().__init__(model, dict(params or {}))
        self._drop, self._thinking = drop, thinking
        self._make: Callable[[], CallClient] = partial(
            CallClient, model, base_url=base_url, endpoint=endpoint, api_key=api_key, plain_http=plain_http,
            concurrency=concurrency, timeout=timeout, idle_timeout=idle_timeout, params=params, drop=drop,
            thinking=thinking, transport=transport, rng=rng,
            initial_window=CLIENT_INITIAL_WINDOW,
        )  # fmt: skip
        checked = self._make()  # reports an argument that cannot be used
        self.model, self.pools = checked.model, checked.pools
        self._endpoint_names = checked.endpoint_names
        self._sessions: dict[asyncio.AbstractEventLoop, LoopSession] = {}
        weakref.finalize(self, close_dropped, self._sessions)

    def __repr__(self) -> str:
        return f"<Client {self.model} at {', '.join(self._endpoint_names)}>"

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop running jobs and calls (those in flight finish) and close the connections of this event loop.

        A later call opens the client again.
        """
        if (session := self._sessions.pop(asyncio.get_running_loop(), None)) is not None:
            await session.close()

    def status(self) -> ClientStatus:
        """Return the number of calls in flight, the concurrency window, and what limits the speed at the moment.

        Raises:
            UsageError: no event loop is running. The figures are those of the running one.
        """
        try:
            session = self._sessions.get(asyncio.get_running_loop())
        except RuntimeError:
            raise UsageError("status() needs a running event loop: that of the calls.") from None
        if session is None or not session.is_open:
            return ClientStatus(0, 0, "")
        return client_status(session.shared, clock.now())

    async def _open(self) -> LoopSession:
        """Return the session of this event loop, open."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            for closed in [each for each in self._sessions if each.is_closed()]:
                self._sessions.pop(closed).abandon()
            session = self._sessions[loop] = LoopSession(self._make())
        await session.open()
        return session

    async def send(self, request: Request) -> ModelReply:
        """Send a request unchanged, to any model. The client's own parameters are not added."""
        return await (await self._open()).call(request)

    def _options(self, out: str | PathLike[str], *, params: Mapping[str, Any] | None, **options: Any) -> RunOptions:
        return RunOptions(
            model=self.model, out=out, params={**self.params, **(params or {})}, drop=self._drop,
            thinking=self._thinking, **options,
        )  # fmt: skip

    def _stream(self, job: Job[R], options: RunOptions, folder: TemporaryFolder | None = None) -> RowStream:
        """Return the results of a job on this client.

        Args:
            folder: the folder of the output, which is kept as long as the stream or its result.
        """

        out = Path(options.out).resolve()

        async def begin(stream: StreamState) -> RunResult:
            session = await self._open()
            async with session.writing(out, stream):
                with nullcontext() if folder is not None else resume_note(options.out):
                    result = await run_shared(
                        job, options, session.shared, stream.session, listener=stream.add, wants_rows=stream.wants_rows
                    )
            if folder is not None:
                folder.keep_for(result)
            return result

        return RowStream(begin)

    async def _result(self, job: Job[R], options: RunOptions) -> R:
        run = await self._stream(job, options)
        return await asyncio.to_thread(job.finish, run)

    @document_run_options
    def map(
        self,
        function: UserFunction,
        rows: RowsLike,
        *,
        out: str | PathLike[str] | None = None,
        samples: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        limit: int | None = None,
        id_field: str | None = None,
        max_total_tokens: int | None = None,
        max_cost: float | None = None,
        price: GivenPrice | None = None,
        prices: str | Path | None = None,
        max_time: str | float | None = None,
        from_: str | PathLike[str] | None = None,
        dry_run: bool = False,
        overwrite: bool = False,
        progress: bool = True,
    ) -> RowStream:
        """Run your own async function for each row, and return the results as a stream.

        See `manycall.map`. Without `out`, the output is in a temporary folder, which is kept as long as the
        stream or its `RunResult`.

        Args:
            function: async def grade(row, llm) -> {…}.
            rows: a path (.jsonl, .json, .csv, .tsv, .parquet), an iterable or async iterable of mappings, or a data
                frame.
            samples: number of samples per row.
            (run options): see `manycall.run.options.RunOptions`.
        """
        path, folder = output_path(out)
        options = self._options(
            path, temperature=temperature, max_tokens=max_tokens, params=params, limit=limit, id_field=id_field,
            max_total_tokens=max_total_tokens, max_cost=max_cost, price=price, prices=prices,
            max_time=max_time, from_=from_, dry_run=dry_run,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
        return self._stream(map_job(function, rows, options, samples=samples), options, folder)

    @document_run_options
    def generate(
        self,
        prompt: PromptLike | None = None,
        rows: RowsLike = None,
        *,
        out: str | PathLike[str] | None = None,
        messages: str | None = None,
        images: Sequence[str] = (),
        samples: int | None = None,
        system: str | None = None,
        schema: SchemaLike | None = None,
        extract: str | None = None,
        parse: Parse | None = None,
        keep: str | Sequence[str] = (),
        output_field: str = "text",
        reask: int = DEFAULT_REASK,
        api: TextApi = "chat",
        random_vars: Variables | None = None,
        grid_vars: Variables | None = None,
        seed: int = 0,
        temperature: float | None = None,
        max_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        reasoning: Reasoning = "separate",
        limit: int | None = None,
        id_field: str | None = None,
        max_total_tokens: int | None = None,
        max_cost: float | None = None,
        price: GivenPrice | None = None,
        prices: str | Path | None = None,
        max_time: str | float | None = None,
        from_: str | PathLike[str] | None = None,
        dry_run: bool = False,
        retry: Retry | None = None,
        overwrite: bool = False,
        progress: bool = True,
    ) -> RowStream:
        """Write one text for each row, and return the results as a stream. See `manycall.generate`.

        Without `out`, the output is in a temporary folder, which is kept as long as the
        stream or its `RunResult`.

        Args:
            prompt: a Jinja template over a row's fields, its path, messages, or a function of the fields.
            messages: the field with the messages to send, instead of a prompt.
            images: fields with images for the last user message.
            keep: parts of the reply that are written too: "tool_calls", "logprobs", "refusal".
            rows: a path (.jsonl, .json, .csv, .tsv, .parquet), an iterable or async iterable of mappings, or a data
                frame.
            (run options): see `manycall.run.options.RunOptions`.
        """
        path, folder = output_path(out)
        options = self._options(
            path, temperature=temperature, max_tokens=max_tokens, params=params,
            reasoning=reasoning, limit=limit, id_field=id_field,
            max_total_tokens=max_total_tokens, max_cost=max_cost, price=price, prices=prices,
            max_time=max_time, from_=from_, dry_run=dry_run,
            retry=retry, overwrite=overwrite, progress=progress,
        )  # fmt: skip
        job = generate_job(
            prompt, rows, options, messages=messages, images=images, samples=samples, system=system,
            output_field=output_field, schema=schema, keep=keep,
            extract=extract, parse=parse, api=api, reask=reask, random_vars=random_vars, grid_vars=grid_vars, seed=seed,
        )  # fmt: skip
        return self._stream(job, options, folder)

    @document_run_options
    async def evaluate(
        self,
        task: str | PathLike[str] | Task,
        *,
        out: str | PathLike[str],
        data: str | PathLike[str] | None = None,
        fewshot_data: str | PathLike[str] | None = None,
        num_fewshot: int | None = None,
        prompt: PromptLike | None = None,
        scorer: str | None = None,
        samples: int | None = None,
        no_answer: NoAnswer = "wrong",
        temperature: float | None = None,
        max_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        reasoning: Reasoning = "separate",
        limit: int | None = None,
        id_field: str | None = None,
        max_total_tokens: int | None = None,
        max_cost: float | None = None,
        price: GivenPrice | None = None,
        prices: str | Path | None = None,
        max_time: str | float | None = None,
        from_: str | PathLike[str] | None = None,
        dry_run: bool = False,
        retry: Retry | None = None,
        overwrite: bool = False,
        progress: bool = True,
    ) -> EvalResult:
        """Ask the questions of a benchmark and score the answers. See `manycall.evaluate`.

        The simulated endpoint gets no answer key here: use base_url="sim:answer_key=wordmath".

        Args:
            task: the name of a benchmark, a `Task`, or a file of rows with `question` and `answer`.
            (run options): see `manycall.run.options.RunOptions`.
        """
        options = self._options(
            out, temperature=temperature, max_tokens=max_tokens, params=params,
            reasoning=reasoning, limit=limit, id_field=id_field,
            max_total_tokens=max_total_tokens, max_cost=max_cost, price=price, prices=prices,
            max_time=max_time, from_=from_, dry_run=dry_run,
            retry=retry, overwrite=overwrite, progress=progress,
        )  # fmt: skip
        job = await asyncio.to_thread(
            evaluate_job, task, options, data=data, fewshot_data=fewshot_data, num_fewshot=num_fewshot, prompt=prompt,
            scorer=scorer, samples=samples, no_answer=no_answer,
        )  # fmt: skip
        return await self._result(job, options)

    @document_run_options
    async def judge(
        self,
        answers: RowsLike,
        rubric: PromptLike,
        *,
        out: str | PathLike[str],
        against: str | PathLike[str] | None = None,
        scale: str | None = None,
        labels: str | Sequence[str] | Mapping[str, float | None] | None = None,
        both_orders: bool = True,
        system: str | None = None,
        images: Sequence[str] = (),
        samples: int | None = None,
        output_field: str = "judge",
        temperature: float | None = None,
        max_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        reasoning: Reasoning = "separate",
        limit: int | None = None,
        id_field: str | None = None,
        max_total_tokens: int | None = None,
        max_cost: float | None = None,
        price: GivenPrice | None = None,
        prices: str | Path | None = None,
        max_time: str | float | None = None,
        from_: str | PathLike[str] | None = None,
        retry: Retry | None = None,
        overwrite: bool = False,
        progress: bool = True,
    ) -> JudgeResult:
        """Let the model judge answers. See `manycall.judge`.

        Args:
            answers: an output of `evaluate` or `generate`, or any rows.
            rubric: a Jinja template over a row's fields, or the name of a built-in rubric.
            (run options): see `manycall.run.options.RunOptions`.
        """
        options = self._options(
            out, temperature=temperature, max_tokens=max_tokens, params=params,
            reasoning=reasoning, limit=limit, id_field=id_field,
            max_total_tokens=max_total_tokens, max_cost=max_cost, price=price, prices=prices, max_time=max_time,
            from_=from_, retry=retry, overwrite=overwrite, progress=progress,
        )  # fmt: skip
        job = await asyncio.to_thread(
            judge_job, answers, rubric, options, against=against, scale=scale, labels=labels, both_orders=both_orders,
            samples=samples, system=system, images=images, output_field=output_field,
        )  # fmt: skip
        return await self._result(job, options)
