"""An OpenAI Batch file, done at once: the same file in, the same shape out, at full speed."""

from itertools import islice
from pathlib import Path
from typing import Any, Unpack

from manycall.data.files import read
from manycall.data.sources import Source
from manycall.engine.map import Common, Job, Options, hide_key, run_job
from manycall.engine.report import Report
from manycall.engine.row import RowCalls
from manycall.errors import UsageError
from manycall.records import Row
from manycall.store.inplace import Shape
from manycall.wire import batch as lines

SHAPE = Shape(lines.failed, lines.is_failed)


def batch(
    requests: str | Path, *, model: str | None = None, samples: int | None = None, **options: Unpack[Common]
) -> Report:
    """Send the requests of an OpenAI Batch file, and write the responses in its own shape, as vLLM's run-batch does.

    Every line names its own model and parameters, which are sent as they stand.

    Args:
        requests: lines of custom_id, method, url and body, where the url ends in /chat/completions, /completions or
            /embeddings.
        model: for lines that name none; so are temperature, max_tokens and params.
        samples: do each so many times, as `custom_id#0`, `custom_id#1`, ...
        options: see `manycall.Options`.

    Raises:
        UsageError: before any call; also if any line is no such request.
        RunStopped: no call can succeed, or somebody interrupted; the same call goes on from there.
    """
    path, common = Path(requests), Options(model=model or "", **options)
    hide_key(common)
    if common.get("id_field"):
        raise UsageError("--id-field: the requests of a batch are named by custom_id")
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file of batch requests (a function needs the rows' file after it)")
    common["model"] = _model(path, model or "", common.get("limit"))
    source = Source(path, samples=samples, id_field="custom_id", limit=common.get("limit"))

    async def one(row: Row, llm: RowCalls) -> dict[str, Any]:
        return lines.answered(row.id, await llm.ask(lines.request(row.fields, llm.model, llm.params)))

    return run_job(Job("batch", {"job": "batch", "samples": samples is not None}, one, shape=SHAPE), source, common)


def _model(path: Path, model: str, limit: int | None) -> str:
    """The one given, or else what stands for the lines' own in the manifest: the first of their names.

    Raises:
        UsageError: a line that is no request, with its number.
    """
    models = set()
    for where, line in islice(read(path), limit):
        try:
            models.add(lines.request(line, model).model)
        except UsageError as error:
            raise UsageError(f"{path}, {where}: {error}") from None
    return model or min(models, default="")
