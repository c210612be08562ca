"""The finished rows of an embedding run in input order, each with its vector from the journal.

The vectors are stored once, in the responses in the journal. A finished row refers to its response. Rows that are next
to each other in the input usually share one, so each response is decoded about once.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import msgspec

from manycall.embedding.text_embedder import EMBEDDING_FIELD, VectorPlace
from manycall.errors import CallError, CorruptFile
from manycall.ids import decode_row_id
from manycall.option_flags import option
from manycall.providers import openai
from manycall.records import DECODE_ERRORS, Embeddings, Fields
from manycall.store.jsonl import corrupt_file, decode_lines
from manycall.store.offset_index import OffsetIndex
from manycall.store.paths import rows_apart_path
from manycall.store.stored_calls import StoredCalls

MAX_DECODED_RESPONSES = 8
"""Responses that are kept decoded."""


class _PlacedRow(msgspec.Struct):
    embedding: VectorPlace


_decode_place = msgspec.json.Decoder(_PlacedRow).decode
_decode_fields = msgspec.json.Decoder(Fields).decode


class StoredVectors:
    """The finished rows of an output. Use it in a `with` block.

    Args:
        out: the output.
        input_ids: ids of the rows in input order. Finished rows that are not among them come last.

    Attributes:
        dimensions: length of the vectors; 0 if no row is finished.

    Raises:
        CorruptFile: a file of the run is damaged.
    """

    def __init__(self, out: Path, input_ids: Iterable[str]) -> None:
        self._out, self._path = out, rows_apart_path(out)
        index = OffsetIndex()
        for offset, _, name in decode_lines(self._path, decode_row_id, out):
            index.add(name, offset)
        self._offsets = _in_order(index, input_ids)
        self._calls = StoredCalls(out)
        self._decoded: OrderedDict[str, list[Sequence[float]]] = OrderedDict()
        self.dimensions = known_dimensions(out) or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._calls.__exit__(None, None, None)

    def __len__(self) -> int:
        return len(self._offsets)

    def rows(self) -> Iterator[tuple[Fields, VectorPlace]]:
        """Yield the fields of each row with its id, without the vector, and where the vector is.

        Raises:
            CorruptFile: a row is damaged.
        """
        with self._path.open("rb") as file:
            for offset in self._offsets:
                file.seek(offset)
                try:
                    fields = _decode_fields(file.readline())
                    place = msgspec.convert(fields.pop(EMBEDDING_FIELD), VectorPlace)
                except (*DECODE_ERRORS, KeyError) as error:
                    raise corrupt_file(self._path, offset, str(error), self._out) from None
                yield fields, place

    def vector(self, place: VectorPlace) -> Sequence[float]:
        """Return a vector.

        Raises:
            CorruptFile: the journal does not have it.
        """
        vectors = self._decoded.get(place.call)
        if vectors is None:
            vectors = self._decoded[place.call] = self._read(place.call)
            if len(self._decoded) > MAX_DECODED_RESPONSES:
                self._decoded.popitem(last=False)
        if place.index >= len(vectors) or len(vectors[place.index]) != place.dimensions:
            raise self._missing(place.call)
        return vectors[place.index]

    def _read(self, call: str) -> list[Sequence[float]]:
        try:
            body = self._calls.response(bytes.fromhex(call))
            answer = None if body is None else openai.decode("embeddings", body)
        except (*DECODE_ERRORS, CallError):
            answer = None
        if not isinstance(answer, Embeddings):
            raise self._missing(call)
        return answer.vectors

    def _missing(self, call: str) -> CorruptFile:
        return CorruptFile(
            f"{self._out}: the journal does not have the response {call}, to which a finished row refers. Restore "
            f"calls.jsonl in the run folder from a backup, or start over with {option('overwrite', True)}."
        )


def known_dimensions(out: Path) -> int | None:
    """Return the length of the vectors of an output; None if no row is finished."""
    for _, _, row in decode_lines(rows_apart_path(out), _decode_place, out):
        return row.embedding.dimensions
    return None


def _in_order(index: OffsetIndex, input_ids: Iterable[str]) -> Sequence[int]:
    """Return the offsets of all rows, 8 bytes each."""
    offsets = array("Q")
    for name in input_ids:
        if (offset := index.pop(name)) is not None:
            offsets.append(offset)
    offsets.extend(index.remaining())
    return offsets
