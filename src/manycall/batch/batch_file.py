"""Run the requests of an OpenAI Batch file online and write an output file in the same format as the Batch API."""

from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.data.row_files import read_rows
from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.providers import batch_lines as lines
from manycall.records import Row
from manycall.run.argument_types import with_checked_types
from manycall.run.job import Job
from manycall.run.options import RunOptions
from manycall.run.row_client import RowClient
from manycall.run.run_result import RunResult
from manycall.store.batch_layout import OutputLayout

BATCH_LAYOUT = OutputLayout(lines.failure_line, lines.is_failed_bytes)


@with_checked_types
def batch_job(requests: str | PathLike[str], options: RunOptions, *, samples: int | None = None) -> Job[RunResult]:
    """Build the job of `manycall.run_batch`.

    Args:
        options: its `model` is what `batch_model` returned.

    Raises:
        UsageError: the file cannot be read.
    """

    async def process(row: Row, llm: RowClient) -> dict[str, Any]:
        return lines.success_line(row.id, await llm.send(lines.parse_request(row.fields, llm.model, llm.params)))

    return Job(
        name="batch",
        settings={"job": "batch", "samples": samples is not None},
        source=RowSource(Path(requests), samples=samples, id_field="custom_id", limit=options.limit),
        process_row=process,
        finish=lambda result: result,
        other_finish_reasons=("finish_reason",),
        layout=BATCH_LAYOUT,
    )


def batch_model(path: Path, model: str, limit: int | None) -> str:
    """Return the model that the manifest names: the given one, or else the first of those that the requests name.

    Raises:
        UsageError: no such file, or a line that is not a request, with its number.
    """
    if not path.is_file():
        raise UsageError(f"{path}: file not found. Expected a file of batch requests.")
    models = set()
    for location, line in islice(read_rows(path), limit):
        try:
            models.add(lines.parse_request(line, model).model)
        except UsageError as error:
            raise UsageError(f"{path}, {location}: {error}") from None
    return model or min(models, default="")
