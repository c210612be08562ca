"""Build the job that runs a user's async function over rows."""

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

from manycall.client.requests import LLM
from manycall.data.row_input import RowsLike
from manycall.errors import UsageError
from manycall.records import Row
from manycall.run.argument_types import with_checked_types
from manycall.run.input_rows import open_rows
from manycall.run.job import Job
from manycall.run.options import RunOptions
from manycall.run.row_client import RowClient
from manycall.run.run_result import RunResult

UserFunction = Callable[[dict[str, Any], LLM], Awaitable[dict[str, Any]]]
"""async def grade(row, llm) -> {...}: gets a row's fields and returns the fields to add to it."""


@with_checked_types
def map_job(
    function: UserFunction, rows: RowsLike, options: RunOptions, *, samples: int | None = None
) -> Job[RunResult]:
    """Build the job of `manycall.map`.

    Raises:
        UsageError: the function is not async, or the rows cannot be read.
    """
    name = getattr(function, "__name__", "function")
    if not asyncio.iscoroutinefunction(function):
        raise UsageError(f"{name!r} must be an async function: async def {name}(row, llm)")

    async def process(row: Row, llm: RowClient) -> dict[str, Any]:
        fields = {**deepcopy(row.fields), "id": row.id}  # a copy, because the function may change it
        return await function(fields, llm)

    return Job(
        name=name,
        settings={"job": f"run {name}", "samples": samples is not None},
        source=open_rows(rows, options, samples=samples),
        process_row=process,
        finish=lambda result: result,
        may_cancel=True,
        endpoints=None,
    )
