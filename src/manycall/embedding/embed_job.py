"""The embedding job: the text of each row becomes a vector."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from manycall.client.endpoint_config import locate
from manycall.client.endpoint_settings import locate_sim
from manycall.data.row_input import RowsLike
from manycall.data.row_source import RowSource
from manycall.embedding.stored_vectors import StoredVectors, known_dimensions
from manycall.embedding.text_embedder import EMBEDDING_FIELD, TextEmbedder
from manycall.embedding.vector_files import check_vector_file, ids_path, write_vectors
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers.catalog import GENERIC
from manycall.records import Row
from manycall.run.argument_types import with_checked_types
from manycall.run.input_rows import open_rows
from manycall.run.job import Job
from manycall.run.options import RunOptions
from manycall.run.row_blocks import BlockSize
from manycall.run.run_result import RunResult
from manycall.sim.process import is_sim
from manycall.store.manifest import real_output
from manycall.store.paths import check_writable, run_folder_path

MAX_BATCH_CHARACTERS = 100_000
"""Characters of one request with several texts. OpenAI accepts 300,000 tokens in one request, and a Chinese character
may be more than one token."""


@with_checked_types
def embed_job(
    rows: RowsLike,
    options: RunOptions,
    *,
    field: str = "text",
    dimensions: int | None = None,
    batch_size: int | None = None,
) -> Job[RunResult]:
    """Build the job of `manycall.embed`, which describes the arguments.

    Raises:
        UsageError: an argument is not valid, the rows cannot be read twice, or the output cannot be written.
    """
    for name, value in (("dimensions", dimensions), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise UsageError(f"{option(name)} must be at least 1, not {value}.")
    out = real_output(Path(options.out))
    check_vector_file(out)
    source = open_rows(rows, options)
    if not source.can_be_read_again:
        raise UsageError("embed reads the rows twice, to write them in their order. Pass a file, a list or a table.")
    if out.suffix == ".npy":
        _check_ids_path(out, source, overwrite=options.overwrite)
    params = {"encoding_format": "base64", **(options.params or {})}
    if dimensions is not None:
        params["dimensions"] = dimensions
    embedder = TextEmbedder(field, params, dimensions or (None if options.overwrite else known_dimensions(out)))
    source.check_first_row(embedder.text)

    def characters(row: Row) -> int:
        text = row.fields.get(field)
        return len(text) if isinstance(text, str) else 0

    return Job(
        name="embed",
        settings={"job": "embed", "field": field, "dimensions": dimensions},
        source=source,
        process_row=embedder,
        finish=lambda result: _finish(result, source),
        output_fields=(EMBEDDING_FIELD,),
        block_size=BlockSize(batch_size or _provider_batch(options.base_url), MAX_BATCH_CHARACTERS, characters),
        keeps_rows_apart=True,
    )


def _check_ids_path(out: Path, source: RowSource, *, overwrite: bool) -> None:
    """Check that the ids of the rows can be written next to a NumPy file.

    Raises:
        UsageError: the file exists and is not that of an earlier session.
    """
    path = check_writable(ids_path(out), [source.path] if source.path is not None else [])
    if path.exists() and not overwrite and not run_folder_path(out).exists():
        raise UsageError(f"{path} already exists. The ids of {out.name} would replace it. Use another {option('out')}.")


def _provider_batch(base_url: str | Sequence[str] | None) -> int:
    """Return how many texts a request has: the smallest number of the providers."""
    given = [base_url] if isinstance(base_url, str) else list(base_url or ())
    given = given or [url for url in [os.getenv("OPENAI_BASE_URL")] if url]
    locations = [locate_sim(each) if is_sim(each) else locate(each, os.getenv) for each in given]
    return min((each.provider.embedding_batch for each in locations), default=GENERIC.embedding_batch)


def _finish(result: RunResult, source: RowSource) -> RunResult:
    """Write the output from the rows and the journal, and count the vectors."""
    with StoredVectors(result.out, source.ids()) as vectors:
        write_vectors(result.out, vectors)
        counts: dict[str, Any] = {"vectors": len(vectors), "dimensions": vectors.dimensions}
        return msgspec.structs.replace(result, counts=counts)
