"""Write the finished rows with their vectors: JSON lines, Parquet, or a NumPy file with the ids next to it.

Each file is replaced atomically. One group of rows is in memory at a time.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from manycall.dataset.arrow_table import ArrowTable
from manycall.dataset.shards import replace_all
from manycall.embedding.stored_vectors import StoredVectors
from manycall.embedding.text_embedder import EMBEDDING_FIELD
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers.embeddings_reply import float32_bytes
from manycall.records import Fields
from manycall.store.atomic_write import replace_file, storage_errors

NPY_ALIGNMENT = 64
"""The numbers of a NumPy file begin at a multiple of 64 bytes, so that it can be mapped into memory
(numpy.lib.format, version 1.0)."""
MAX_PIECE_BYTES = 1 << 20

_encode = msgspec.json.Encoder().encode


def check_vector_file(out: Path) -> None:
    """Check that vectors can be written to this file.

    Raises:
        UsageError: the suffix has no writer, or pyarrow is needed and not installed.
    """
    if out.suffix not in VECTOR_WRITERS:
        raise UsageError(f"{option('out', str(out))} must end in {', '.join(VECTOR_WRITERS)}.")
    if out.suffix == ".parquet":
        ArrowTable(())


def ids_path(out: Path) -> Path:
    """Return the file with the ids of the rows of a NumPy file."""
    return out.with_name(out.stem + ".ids.jsonl")


def write_vectors(out: Path, vectors: StoredVectors) -> None:
    """Write all finished rows to the file that the user named.

    Raises:
        StorageError: a file cannot be written.
        CorruptFile: a file of the run is damaged.
    """
    with storage_errors(out):
        VECTOR_WRITERS[out.suffix](out, vectors)


def _write_jsonl(out: Path, vectors: StoredVectors) -> None:
    lines = (
        _encode({**fields, EMBEDDING_FIELD: list(vectors.vector(place))}) + b"\n" for fields, place in vectors.rows()
    )
    replace_file(out, lines)


def _write_npy(out: Path, vectors: StoredVectors) -> None:
    replace_file(ids_path(out), (_encode({"id": fields["id"]}) + b"\n" for fields, _ in vectors.rows()))
    replace_file(out, _npy_pieces(vectors))


def _npy_pieces(vectors: StoredVectors) -> Iterator[bytes]:
    """Yield a file in NumPy's format 1.0: magic, length of the header, header, numbers row by row."""
    shape = f"({len(vectors)}, {vectors.dimensions})"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    length = -(-(len(header) + 11) // NPY_ALIGNMENT) * NPY_ALIGNMENT - 10
    yield b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + header.ljust(length - 1) + b"\n"
    piece = bytearray()
    for _, place in vectors.rows():
        piece += float32_bytes(vectors.vector(place))
        if len(piece) >= MAX_PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _write_parquet(out: Path, vectors: StoredVectors) -> None:
    table = ArrowTable((fields for fields, _ in vectors.rows()), {EMBEDDING_FIELD: vectors.dimensions})

    def rows() -> Iterator[Fields]:
        for fields, place in vectors.rows():
            yield {**fields, EMBEDDING_FIELD: float32_bytes(vectors.vector(place))}

    with replace_all([out]) as (temporary,):
        table.write_parquet(temporary, rows())


VECTOR_WRITERS: dict[str, Callable[[Path, StoredVectors], None]] = {
    ".parquet": _write_parquet,
    ".npy": _write_npy,
    ".jsonl": _write_jsonl,
}
"""Suffix of the output → the function that writes it."""
