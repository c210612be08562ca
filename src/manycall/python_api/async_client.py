"""`Client`: single calls and whole jobs for async programs and notebooks."""

import asyncio
import random
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.job_client import JobClient
from manycall.client.pool import ClientStatus
from manycall.client.requests import LLM, ModelReply
from manycall.data.answer_schema import SchemaLike
from manycall.data.prompt_template import PromptLike
from manycall.data.row_source import RowsLike
from manycall.evals.eval_result import EvalResult
from manycall.evals.evaluate import evaluate_job
from manycall.evals.tasks import Task
from manycall.judging.judge import judge_job
from manycall.judging.judge_result import JudgeResult
from manycall.records import Request, Secret
from manycall.run.job import Job, job_params, run_shared
from manycall.run.map_rows import UserFunction, map_job
from manycall.run.options import DEFAULT_TIMEOUT_SECONDS, RunOptions, document_run_options, wrap_api_key
from manycall.run.row_stream import RowStream
from manycall.run.run_result import RunResult
from manycall.run.ticker import client_status
from manycall.synth.generate import Parse, Variables, generate_job
from manycall.synth.prompt_call import DEFAULT_REASK, TextApi
from manycall.transport.messages import Transport

R = TypeVar("R")

INITIAL_WINDOW = 256
"""Calls that may be in flight at the start: a `gather` of some hundred calls should not wait for the window to open."""


class Client(LLM):
    """A client for OpenAI-compatible endpoints: `await llm.chat("hi")`, `async for result in llm.map(...)`.

    It opens with the first call, so that it may live across the cells of a notebook; `aclose()` or `async with` closes
    it. All calls and jobs of a client share its connections, limits and permits.

    Args:
        model: the model's name at the endpoint.
        base_url: the endpoint, or several (one pool), or "sim". Default: OPENAI_BASE_URL, endpoints.toml, OpenAI.
        api_key: default: OPENAI_API_KEY; "" sends no key.
        plain_http: allow the key to be sent unencrypted (http) to another machine.
        concurrency: number of concurrent calls. Default: chosen and adjusted automatically.
        timeout: seconds for one attempt.
        params: sent with every text call: {"temperature": 0, "max_tokens": 512, …}.
        transport: what carries the requests (`manycall.testing`). Default: HTTP.
        rng: random numbers for the waits between attempts.

    Raises:
        UsageError: an argument that cannot be used, or no endpoint.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | Sequence[str] | None = None,
        api_key: str | Secret | None = None,
        plain_http: bool = False,
        concurrency: int | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        params: Mapping[str, Any] | None = None,
        transport: Transport | None = None,
        rng: random.Random | None = None,
    ) -> None:
        api_key = wrap_api_key(api_key)
        super().__init__(model, dict(params or {}))
        self._make: Callable[[], CallClient] = partial(
            CallClient, model, base_url=base_url, api_key=api_key, plain_http=plain_http, concurrency=concurrency,
            timeout=timeout, params=params, transport=transport, rng=rng, initial_window=INITIAL_WINDOW,
        )  # fmt: skip
        self._shared = self._make()
        self._calls: JobClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._streams: weakref.WeakSet[RowStream] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<Client {self.model} at {', '.join(self._shared.pool.endpoint_names)}>"

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop running jobs (their calls in flight finish) and close the connections. A later call opens it again."""
        for stream in list(self._streams):
            await stream.aclose()
        if self._loop is asyncio.get_running_loop():
            self._loop = self._calls = None
            await self._shared.__aexit__(None, None, None)
            self._shared = self._make()

    def status(self) -> ClientStatus:
        """Return the number of calls in flight, the concurrency window, and what limits the speed at the moment."""
        return ClientStatus(0, 0, "") if self._loop is None else client_status(self._shared, clock.now())

    async def _open(self) -> CallClient:
        """Open the client in this event loop, if it is not."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._loop.is_closed():
                self._loop, self._calls, self._opening = None, None, asyncio.Lock()
                self._shared = self._make()
            async with self._opening:
                if self._loop is None:
                    await self._shared.__aenter__()
                    self._loop = loop
        return self._shared

    async def _call(self, request: Request) -> ModelReply:
        shared = await self._open()
        if self._calls is None or (self._calls.stopped is not None and not self._calls.permits.in_flight):
            self._calls = JobClient(shared, self.params)  # a failure that stopped earlier calls need not stop this one
        return await self._calls._call(request)

    def _options(
        self, out: str | PathLike[str] | None, *, params: Mapping[str, Any] | None, **options: Any
    ) -> RunOptions:
        if out is None:
            folder = tempfile.mkdtemp(prefix="manycall-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            out = Path(folder) / "rows.jsonl"
        return RunOptions(model=self.model, out=out, params={**self.params, **(params or {})}, **options)

    def _stream(self, job: Job[R], options: RunOptions) -> RowStream:
        """Return the results of a job on this client."""

        async def begin(stream: RowStream) -> RunResult:
            client = JobClient(await self._open(), job_params(job, options), stream.wants_rows)
            stream.max_unread = lambda: client.permits.total_window
            stream.on_read = client.permits.recheck
            try:
                return await run_shared(job, options, client, stream.add, stream.session)
            finally:
                client.leave()

        stream = RowStream(begin)
        self._streams.add(stream)
        return stream

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
        price: str | tuple[float, float] | None = None,
        max_time: str | float | None = None,
        dry_run: bool = False,
        overwrite: bool = False,
        progress: bool = True,
    ) -> RowStream:
        """Run your own async function for each row, and return the results as a stream.

        See `manycall.map`. Without `out`, results are kept in a temporary folder until the client is deleted.

        Args:
            function: async def grade(row, llm) -> {…}.
            rows: a path (.jsonl, .json, .csv, .tsv, .parquet), an iterable or async iterable of mappings, or a data
            frame.
            samples: number of samples per row.
            (run options): see `manycall.run.options.RunOptions`.
        """
        options = self._options(
            out, temperature=temperature, max_tokens=max_tokens, params=params, limit=limit, id_field=id_field,
            max_total_tokens=max_total_tokens, max_cost=max_cost, price=price, max_time=max_time, dry_run=dry_run,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
        return self._stream(map_job(function, rows, options, samples=samples), options)

    @document_run_options
    def generate(
        self,
        prompt: PromptLike,
        rows: RowsLike = None,
        *,
        out: str | PathLike[str] | None = None,
        samples: int | None = None,
        system: str | None = None,
        schema: SchemaLike | None = None,
        parse: Parse | None = None,
        output_field: str = "text",
        reask: int = DEFAULT_REASK,
        api: TextApi = "chat",
        random_vars: Variables | None = None,
        grid_vars: Variables | None = None,
        seed: int = 0,
        temperature: float | None = None,
        max_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        limit: int | None = None,
        id_field: str | None = None,
        max_total_tokens: int | None = None,
        max_cost: float | None = None,
        price: str | tuple[float, float] | None = None,
        max_time: str | float | None = None,
        dry_run: bool = False,
        overwrite: bool = False,
        progress: bool = True,
    ) -> RowStream:
        """Write one text for each row, and return the results as a stream. See `manycall.generate`.

        Without `out`, results are kept in a temporary folder until the client is deleted.

        Args:
            prompt: a Jinja template over a row's fields, its path, messages, or a function of the fields.
            rows: a path (.jsonl, .json, .csv, .tsv, .parquet), an iterable or async iterable of mappings, or a data
            frame.
            (run options): see `manycall.run.options.RunOptions`.
        """
        options = self._options(
            out, temperature=temperature, max_tokens=max_tokens, params=params, limit=limit, id_field=id_field,
            max_total_tokens=max_total_tokens, max_cost=max_cost, price=price, max_time=max_time, dry_run=dry_run,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
        job = generate_job(
            prompt, rows, options, samples=samples, system=system, output_field=output_field, schema=schema,
            parse=parse, api=api, reask=reask, random_vars=random_vars, grid_vars=grid_vars, seed=seed,
        )  # fmt: skip
        return self._stream(job, options)

    @document_run_options
    async def evaluate(
        self,
        task: str | PathLike[str] | Task,
        *,
        out: str | PathLike[str],
        data: str | PathLike[str] | None = None,
        fewshot_data: str | PathLike[str] | None = None,
        prompt: PromptLike | None = None,
        scorer: str | None = None,
        samples: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        limit: int | None = None,
        id_field: str | None = None,
        max_total_tokens: int | None = None,
        max_cost: float | None = None,
        price: str | tuple[float, float] | None = None,
        max_time: str | float | None = None,
        dry_run: bool = False,
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
            out, temperature=temperature, max_tokens=max_tokens, params=params, limit=limit, id_field=id_field,
            max_total_tokens=max_total_tokens, max_cost=max_cost, price=price, max_time=max_time, dry_run=dry_run,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
        job = await asyncio.to_thread(
            evaluate_job, task, options, data=data, fewshot_data=fewshot_data, prompt=prompt, scorer=scorer,
            samples=samples,
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
        samples: int | None = None,
        output_field: str = "judge",
        temperature: float | None = None,
        max_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        limit: int | None = None,
        id_field: str | None = None,
        max_total_tokens: int | None = None,
        max_cost: float | None = None,
        price: str | tuple[float, float] | None = None,
        max_time: str | float | None = None,
        overwrite: bool = False,
        progress: bool = True,
    ) -> JudgeResult:
        """Let the model judge answers. See `manycall.judge`.

        Args:
            answers: an output of `evaluate` or `generate`, or any rows.
            rubric: a Jinja template over a row's fields.
            (run options): see `manycall.run.options.RunOptions`.
        """
        options = self._options(
            out, temperature=temperature, max_tokens=max_tokens, params=params, limit=limit, id_field=id_field,
            max_total_tokens=max_total_tokens, max_cost=max_cost, price=price, max_time=max_time,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
        job = await asyncio.to_thread(
            judge_job, answers, rubric, options, against=against, scale=scale, labels=labels, both_orders=both_orders,
            samples=samples, system=system, output_field=output_field,
        )  # fmt: skip
        return await self._result(job, options)
