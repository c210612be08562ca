"""Streams of rows with ids, from a file, an iterable, an async iterable or a count.

A file is read twice: first as a whole, before any call, so that a malformed line costs nothing; then lazily, while
calls are made. Both reads must return the same bytes (data/input_file.py). An iterable can be read only once, so its
errors are reported when they are reached.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence, Sized
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from manycall.data.input_file import InputFile
from manycall.data.nesting import TOO_DEEP, is_too_deep
from manycall.data.prompt_template import PromptError
from manycall.data.row_files import SKIPPED_ROW, LocatedRow, read_rows
from manycall.data.row_frames import frame_as_rows
from manycall.data.variables import VariableGrid, VariableSampler
from manycall.errors import UsageError
from manycall.ids import IdState, IdTable, content_id, explicit_id
from manycall.json_values import json_value
from manycall.option_flags import option
from manycall.records import Fields, Row


class DataFrame(Protocol):
    """A data frame of pandas or polars."""

    @property
    def columns(self) -> Any:
        """The column names."""

    def __len__(self) -> int: ...


RowsLike = str | Path | Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]] | DataFrame | None
"""A path, an iterable or async iterable of mappings, a data frame, or None (no rows, only a count)."""

T = TypeVar("T")
_encode = msgspec.json.Encoder(enc_hook=json_value).encode


class RowSource:
    """A stream of rows with ids.

    Args:
        rows: see `RowsLike`. None: rows that only have an `id`, numbered from 0.
        samples: number of samples per row, with the ids `id#0`, `id#1`, ...; None: one, with the id `id`. If `rows` is
            None, the number of rows.
        id_field: the field that contains the row id, instead of `id` or `custom_id`.
        limit: use only the first `limit` rows (not samples).
        grid: repeat each row for every combination of these variables. If `rows` is None, they are the rows.
        sampler: chooses the values of random variables for each row and sample.

    Attributes:
        rows_per_input: number of rows per input row: samples times combinations of the grid.
        name: name of the source in messages.
        total: number of rows, samples included; None if it is unknown.
        fingerprint: hash of the input file; "" for other sources.
        first_row: fields of the first row; None if they cannot be known in advance.
        path: the file; None for other sources.
    """

    def __init__(
        self,
        rows: RowsLike,
        *,
        samples: int | None = None,
        id_field: str | None = None,
        limit: int | None = None,
        grid: VariableGrid | None = None,
        sampler: VariableSampler | None = None,
    ) -> None:
        if rows is None and grid is not None:
            rows, grid = grid, None
        rows = frame_as_rows(rows)
        for name, value in (("samples", samples), ("limit", limit)):
            if value is not None and value < 1:
                raise UsageError(f"{option(name)} must be at least 1, not {value}.")
        if not isinstance(rows, str | Path | Iterable | AsyncIterable | None):
            raise UsageError(f"rows must be a path or an iterable of mappings, not {type(rows).__name__}.")
        self._samples = None if rows is None else samples
        self._id_field = id_field
        self._limit = limit
        self._grid, self._sampler = grid, sampler
        self._expand = self._pending_samples if grid is None else self._pending_combinations
        self.rows_per_input = (self._samples or 1) * (1 if grid is None else len(grid))
        self.name = "input rows"
        self.total: int | None = None
        self.fingerprint = ""
        self.first_row: Fields | None = None
        self.path: Path | None = None
        self._file: InputFile | None = None
        self._all_have_ids = False  # every row has an id, and all ids differ
        self._rows: Iterable[Any] | AsyncIterable[Any] = ()
        if rows is None:
            self.name, self.first_row = "the prompt alone", {"id": 0}
            self._rows = ({"id": number} for number in range(samples or 1))
            self.total = min(samples or 1, limit or samples or 1)
        elif isinstance(rows, str | Path):
            self.name, self.path = str(rows), Path(rows)
            self._file = InputFile(self.path)
            self._check(self.path)
        else:
            self._rows = rows
            if isinstance(rows, Sequence) and rows and isinstance(rows[0], Mapping):
                self.first_row = dict(rows[0])
            if isinstance(rows, Sized):
                self.total = len(range(len(rows))[:limit]) * self.rows_per_input
        if self.first_row is not None:
            self.first_row = self._with_variables(self.first_row)

    def __repr__(self) -> str:
        return f"<RowSource {self.name}, {'?' if self.total is None else self.total} rows>"

    def _check(self, path: Path) -> None:
        """Read the whole file once to check that every row is readable and every id is valid and unique."""
        seen, digest, rows = IdTable(), blake2b(digest_size=16), 0
        self._all_have_ids = True
        for location, fields in self._limited(read_rows(path, file=self._file)):
            self.first_row = fields if self.first_row is None else self.first_row
            name = self._explicit_id(fields, location)
            identity = name or self._content_id(fields, location)
            self._all_have_ids = self._all_have_ids and name is not None
            if name is not None and seen.mark_seen(name) is not IdState.UNKNOWN:
                raise UsageError(f"{path}, {location}: duplicate id {name!r:.100}. Ids must be unique.")
            digest.update(identity.encode("utf-8", "surrogatepass"))
            if self._sampler is not None:
                self._with_variables(fields)  # reports missing values of dependent variables before any call
            rows += 1
        if not rows:
            raise UsageError(f"{path} contains no rows.")
        self.total = rows * self.rows_per_input
        self.fingerprint = digest.hexdigest()

    def _with_variables(self, fields: Fields) -> Fields:
        """Return an example of the fields that this row will have with its variables."""
        if self._grid is not None:
            _, fields = next(self._grid.expand(fields))
        return fields if self._sampler is None else self._sampler("first", fields)

    def _limited(self, rows: Iterable[T]) -> Iterable[T]:
        return islice(rows, self._limit)

    def _explicit_id(self, fields: Mapping[str, Any], location: str) -> str | None:
        try:
            return explicit_id(fields, self._id_field)
        except ValueError as error:
            raise UsageError(f"{self.name}, {location}: the row {error}") from None

    def _content_id(self, fields: Mapping[str, Any], location: str) -> str:
        try:
            return content_id(fields)
        except ValueError as error:  # a lone surrogate
            raise UsageError(f"{self.name}, {location}: {error}") from None

    def check_first_row(self, use: Callable[[Row], object]) -> None:
        """Call `use` with the first row if it is known, so that a misspelled field is reported before any call.

        Raises:
            UsageError: `use` raised PromptError.
        """
        if self.first_row is not None:
            try:
                use(Row("first", self.first_row))
            except PromptError as error:
                raise UsageError(f"{self.name}: {error}") from None

    @property
    def manifest_entry(self) -> dict[str, Any]:
        """The `source` of the manifest. It is enough to read the same rows again if they come from a file."""
        entry = {"rows": self.name, "count": self.total, "hash": self.fingerprint, "samples": self._samples}
        return {**entry, "id_field": self._id_field, "is_file": self.path is not None}

    def checksum(self) -> str:
        """Return the number and a hash of all rows, regardless of the limit; "" if they can be read only once.

        Raises:
            UsageError: a row is not valid.
        """
        if not isinstance(self._rows, Sequence):
            return ""
        digest, rows = blake2b(digest_size=8), 0
        for location, fields in self._located(self._rows, IdTable()):
            digest.update(self._content_id(fields, location).encode())
            rows += 1
        return f"{rows:,} rows, checksum {digest.hexdigest()}"

    def ids(self) -> Iterator[str]:
        """Yield the ids of the rows of a file, in file order, as `pending_rows` assigns them."""
        known, repeats = IdTable(), dict[str, int]()
        for index, located in enumerate(self._limited(self._located((), known))):
            yield from (row.id for row in self._pending_samples(*located, index, known, repeats))

    async def pending_rows(self, known: IdTable) -> AsyncIterator[Row]:
        """Yield the rows that are not DONE in `known`. They are marked as seen there if ids may repeat.

        Raises:
            InputChanged: the file has changed since it was checked.
            UsageError: a row is not valid, or its id occurred before.
        """
        repeats: dict[str, int] = {}
        index = 0
        if isinstance(self._rows, AsyncIterable):
            async for row_fields in _first(self._rows, self._limit):
                for row in self._expand(*self._located_row(row_fields, index), index, known, repeats):
                    yield row
                index += 1
            return
        for located in self._limited(self._located(self._rows, known)):
            if not index % 1000:
                await asyncio.sleep(0)  # Ctrl-C must work while a million finished rows are skipped
            if located is not SKIPPED_ROW:
                for row in self._expand(*located, index, known, repeats):
                    yield row
            index += 1

    def must_be_unchanged(self) -> None:
        """Check that the input file, if there is one, has not changed since it was checked.

        Raises:
            InputChanged: it has changed.
        """
        if self._file is not None:
            self._file.must_be_unchanged()

    def _located(self, rows: Iterable[Any], known: IdTable) -> Iterator[LocatedRow]:
        if self.path is None:
            return map(self._located_row, rows, count())
        can_skip = self._all_have_ids and self._id_field is None and self._samples is None and len(known)
        return read_rows(self.path, known.state if can_skip else None, file=self._file)

    def _located_row(self, fields: Any, index: int) -> LocatedRow:
        """Convert a mapping from the user's program to the row that a file with the same JSON would contain."""
        location = f"row {index + 1}"
        if not isinstance(fields, Mapping):
            raise UsageError(
                f"{self.name}, {location}: a row must be a mapping with fields, not {type(fields).__name__}."
            )
        try:
            text = _encode(dict(fields))
            decoded = msgspec.json.decode(text)
        except RecursionError:
            raise UsageError(f"{self.name}, {location}: {TOO_DEEP}") from None
        except (TypeError, ValueError) as error:
            raise UsageError(f"{self.name}, {location}: cannot be written as JSON: {error}") from None
        if is_too_deep(decoded, text):
            raise UsageError(f"{self.name}, {location}: {TOO_DEEP}")
        return location, decoded

    def _pending_combinations(
        self, location: str, fields: Fields, index: int, known: IdTable, repeats: dict[str, int]
    ) -> list[Row]:
        assert self._grid is not None
        return [
            row
            for suffix, combined in self._grid.expand(fields)
            for row in self._pending_samples(location, combined, index, known, repeats, suffix)
        ]

    def _pending_samples(
        self, location: str, fields: Fields, index: int, known: IdTable, repeats: dict[str, int], suffix: str = ""
    ) -> list[Row]:
        """Return the samples of a row that are not done. `suffix` identifies the combination of grid variables."""
        name = self._explicit_id(fields, location)
        if name is None:
            name = self._deduplicate_id(self._content_id(fields, location), repeats, known)
        elif suffix:
            name += suffix
        rows = []
        for sample in range(self._samples or 1):
            row_id = self._sample_id(name, sample)
            before = known.state(row_id) if self._all_have_ids else known.mark_seen(row_id)
            if before is IdState.SEEN:
                raise UsageError(f"{self.name}, {location}: duplicate id {row_id!r:.100}. Ids must be unique.")
            if before is IdState.UNKNOWN:
                with_variables = fields if self._sampler is None else self._sampler(row_id, fields)
                rows.append(Row(row_id, with_variables, index, sample))
        return rows

    def _sample_id(self, name: str, sample: int) -> str:
        return name if self._samples is None else f"{name}#{sample}"

    def _deduplicate_id(self, name: str, repeats: dict[str, int], known: IdTable) -> str:
        """Return `name`, or `name-2`, `name-3`, ... if rows with the same content occurred before."""
        if known.state(self._sample_id(name, 0)) is not IdState.SEEN:
            return name
        repeats[name] = repeats.get(name, 1) + 1
        return f"{name}-{repeats[name]}"


async def _first(rows: AsyncIterable[T], limit: int | None) -> AsyncIterator[T]:
    """Yield at most `limit` rows, without requesting the next one from the iterator."""
    count = 0
    iterator = aiter(rows)
    while count != limit:
        try:
            row = await anext(iterator)
        except StopAsyncIteration:
            return
        count += 1
        yield row
