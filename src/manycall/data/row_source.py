"""Streams of rows with ids, from a file, an iterable, an async iterable or a count.

A file is read twice: first as a whole, before any call, so that a malformed line costs nothing; then lazily, while
calls are made. Both reads must return the same bytes (data/input_checksum.py). An iterable can be read only once, so
its errors are reported when they are reached.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from manycall.data.prompt_template import PromptError
from manycall.data.row_files import SKIPPED_ROW, LocatedRow
from manycall.data.row_ids import RowIds
from manycall.data.row_input import RowsLike, row_input
from manycall.data.variables import VariableGrid, VariableSampler
from manycall.errors import UsageError
from manycall.ids import IdState, IdTable
from manycall.option_flags import option
from manycall.records import Fields, Row

T = TypeVar("T")


class _CheckedInput(NamedTuple):
    """What is known of the rows before the first call.

    Attributes:
        rows: number of input rows within the limit; None if unknown.
        first_row: fields of the first input row; None if unknown.
        fingerprint: hash of the ids of a file; "" for other inputs.
        all_have_ids: every row is known to have an id, and all ids differ.
    """

    rows: int | None
    first_row: Fields | None
    fingerprint: str = ""
    all_have_ids: bool = False


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
        for name, value in (("samples", samples), ("limit", limit)):
            if value is not None and value < 1:
                raise UsageError(f"{option(name)} must be at least 1, not {value}.")
        self._input = row_input(rows, length=samples or 1)
        self._samples = None if rows is None else samples
        self._id_field, self._limit = id_field, limit
        self._grid, self._sampler = grid, sampler
        self._expand = self._pending_samples if grid is None else self._pending_combinations
        self.rows_per_input = (self._samples or 1) * (1 if grid is None else len(grid))
        self.name = self._input.name
        self._ids = RowIds(self.name, id_field, self._samples)
        self.path = None if self._input.file is None else self._input.file.path
        checked = self._checked_input()
        self.total = None if checked.rows is None else checked.rows * self.rows_per_input
        self.fingerprint = checked.fingerprint
        self.first_row = None if checked.first_row is None else self._with_variables(checked.first_row)
        self._all_have_ids = checked.all_have_ids

    def __repr__(self) -> str:
        return f"<RowSource {self.name}, {'?' if self.total is None else self.total} rows>"

    def _checked_input(self) -> _CheckedInput:
        """Return what is known of the rows in advance. A file is read once as a whole, other inputs are not read.

        Raises:
            UsageError: a row of the file is not valid, an id occurs twice, or the file contains no rows.
        """
        first_row, length = self._input.first_row, self._input.length
        if self.path is None:
            return _CheckedInput(None if length is None else len(range(length)[: self._limit]), first_row)
        seen, digest, rows, all_have_ids = IdTable(), blake2b(digest_size=16), 0, True
        for location, fields in self._limited(self._input.located()):
            first_row = fields if first_row is None else first_row
            name = self._ids.explicit(fields, location)
            identity = name or self._ids.from_content(fields, location)
            all_have_ids = all_have_ids and name is not None
            if name is not None and seen.mark_seen(name) is not IdState.UNKNOWN:
                raise UsageError(f"{self.path}, {location}: duplicate id {name!r:.100}. Ids must be unique.")
            digest.update(identity.encode("utf-8", "surrogatepass"))
            if self._sampler is not None:
                self._with_variables(fields)  # reports missing values of dependent variables before any call
            rows += 1
        if not rows:
            raise UsageError(f"{self.path} contains no rows.")
        return _CheckedInput(rows, first_row, digest.hexdigest(), all_have_ids)

    def _with_variables(self, fields: Fields) -> Fields:
        """Return an example of the fields that this row will have with its variables."""
        if self._grid is not None:
            _, fields = next(self._grid.expand(fields))
        return fields if self._sampler is None else self._sampler.sample("first", fields)

    def _limited(self, rows: Iterable[T]) -> Iterable[T]:
        return islice(rows, self._limit)

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
        entry = {"input": self.name, "count": self.total, "fingerprint": self.fingerprint, "samples": self._samples}
        return {**entry, "id_field": self._id_field, "is_file": self.path is not None}

    def checksum(self) -> str:
        """Return the number and a hash of all rows, regardless of the limit; "" if they can be read only once.

        Raises:
            UsageError: a row is not valid.
        """
        if not isinstance(self._input.rows, Sequence):
            return ""
        digest, rows = blake2b(digest_size=8), 0
        for location, fields in self._input.located():
            digest.update(self._ids.from_content(fields, location).encode())
            rows += 1
        return f"{rows:,} rows, checksum {digest.hexdigest()}"

    def ids(self) -> Iterator[str]:
        """Yield the ids of the rows of a file, in file order, as `pending_rows` assigns them."""
        known, repeats = IdTable(), dict[str, int]()
        for index, located in enumerate(self._limited(self._located(known))):
            yield from (row.id for row in self._pending_samples(*located, index, known, repeats))

    async def pending_rows(self, known: IdTable) -> AsyncIterator[Row]:
        """Yield the rows that are not DONE in `known`. They are marked as seen there if ids may repeat.

        Raises:
            InputChanged: the file has changed since it was checked.
            UsageError: a row is not valid, or its id occurred before.
        """
        repeats: dict[str, int] = {}
        index = 0
        if isinstance(self._input.rows, AsyncIterable):
            async for row_fields in _first(self._input.rows, self._limit):
                for row in self._expand(*self._input.located_row(row_fields, index), index, known, repeats):
                    yield row
                index += 1
            return
        for located in self._limited(self._located(known)):
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
        if self._input.file is not None:
            self._input.file.must_be_unchanged()

    def _located(self, known: IdTable) -> Iterator[LocatedRow]:
        can_skip = self._all_have_ids and self._id_field is None and self._samples is None and len(known)
        return self._input.located(known.state if can_skip else None)

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
        name = self._ids.explicit(fields, location)
        if name is None:
            name = self._ids.deduplicated(self._ids.from_content(fields, location), repeats, known)
        elif suffix:
            name += suffix
        rows = []
        for sample in range(self._samples or 1):
            row_id = self._ids.of_sample(name, sample)
            before = known.state(row_id) if self._all_have_ids else known.mark_seen(row_id)
            if before is IdState.SEEN:
                raise UsageError(f"{self.name}, {location}: duplicate id {row_id!r:.100}. Ids must be unique.")
            if before is IdState.UNKNOWN:
                with_variables = fields if self._sampler is None else self._sampler.sample(row_id, fields)
                rows.append(Row(row_id, with_variables, index, sample))
        return rows


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
