"""Streams of rows with ids, from a file, an iterable, an async iterable or a count.

A file is read twice: first as a whole, before any call, so that a malformed line costs nothing; then lazily, while
calls are made. Both reads must return the same bytes (data/input_checksum.py). An iterable can be read only once, so
its errors are reported when they are reached.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import groupby, islice
from typing import Any, Protocol, TypeVar

from manycall.data.input_check import InputCheck
from manycall.data.input_progress import InputProgress
from manycall.data.input_record import MARK_ROWS, EarlierInput, InputPosition, InputRecord, LinePosition
from manycall.data.prompt_error import PromptError
from manycall.data.row_files import SKIPPED_ROW, LineCursor, LocatedRow
from manycall.data.row_ids import RowIds
from manycall.data.row_input import RowsLike, row_input
from manycall.data.variables import VariableGrid
from manycall.errors import UsageError
from manycall.ids import IdState, IdTable
from manycall.option_flags import option
from manycall.records import Fields, Row

T = TypeVar("T")


class FieldSampler(Protocol):
    """Returns the fields of a row or sample, from its id and the fields of its input row."""

    def sample(self, row_id: str, fields: Fields) -> Fields: ...


class RowSource:
    """A stream of rows with ids.

    Args:
        rows: see `RowsLike`. None: rows that only have an `id`, numbered from 0.
        samples: number of samples per row, with the ids `id#0`, `id#1`, ...; None: one, with the id `id`. If `rows` is
            None, the number of rows.
        id_field: the field that contains the row id, instead of `id` or `custom_id`.
        limit: use only the first `limit` rows (not samples).
        grid: repeat each row for every combination of these variables. If `rows` is None, they are the rows.
        sampler: fields that differ between rows or samples, for example random variables.
        check: called with the fields of each row of a file, with its variables, before the rows are processed; raises
            PromptError for a row that cannot be used.
        earlier: the input of the last session. What is known of it is not checked again, if it is the same.

    Attributes:
        rows_per_input: number of rows per input row: samples times combinations of the grid.
        name: name of the source in messages.
        total: number of rows, samples included; None if it is unknown.
        fingerprint: hash of the bytes of the input file; "" for other sources.
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
        sampler: FieldSampler | None = None,
        check: Callable[[Fields], object] | None = None,
        earlier: EarlierInput | None = None,
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
        earlier = earlier if earlier is not None and self._fits(earlier.record) else None
        self._earlier_record = None if earlier is None else earlier.record
        use = None
        if check is not None:
            use = lambda fields: check(self._with_variables(fields))  # noqa: E731
        elif sampler is not None:  # reports missing values of dependent variables before any call
            use = self._with_variables
        checked = InputCheck(self._input, self._ids, limit, use).run(earlier)
        self.total = None if checked.rows is None else checked.rows * self.rows_per_input
        self._input_rows = checked.rows or 0
        self.fingerprint = checked.fingerprint
        self.first_row = None if checked.first_row is None else self._with_variables(checked.first_row)
        self._all_have_ids, self._begins_like_earlier = checked.all_have_ids, checked.begins_like_earlier
        self._progress: InputProgress | None = None
        self._may_be_done = False

    def __repr__(self) -> str:
        return f"<RowSource {self.name}, {'?' if self.total is None else self.total} rows>"

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

    @property
    def can_be_read_again(self) -> bool:
        """Whether the rows are in a file, a list or a table, and not in an iterator."""
        return self._input.file is not None or isinstance(self._input.rows, Sequence)

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
        """Yield the ids of rows that can be read again, in their order, as `pending_rows` assigns them."""
        known, repeats = IdTable(), dict[str, int]()
        for index, located in enumerate(self._limited(self._input.located())):
            yield from (row.id for row in self._pending_samples(*located, index, known, repeats))

    async def pending_rows(self, known: IdTable, record: InputRecord | None = None) -> AsyncIterator[Row]:
        """Yield the rows that are not done in `known`. They are marked as seen there if ids may repeat.

        Args:
            record: what the session that has marked the ids in `known` as done and seen has left about its input.

        Raises:
            InputChanged: the file has changed since it was checked.
            UsageError: a row is not valid, or its id occurred before.
        """
        start = self._start(known, record)
        progress = self._progress = InputProgress(start)
        if isinstance(self._input.rows, AsyncIterable):
            async for row_fields in _first(self._input.rows, self._limit):
                located = self._input.located_row(row_fields, progress.index)
                for row in self._expand(*located, progress.index, known, progress.repeats):
                    yield row
                progress.count_row()
            return
        for row in self._unfinished(start, known):
            yield row
        progress.begin_rows(self._input_rows)
        progress.mark()
        for located in self._located(known, progress):
            index = progress.count_row()
            if located is not SKIPPED_ROW:
                location, fields = located
                for row in progress.expand_to(self._expand(location, fields, index, known, progress.repeats)):
                    yield row
            if not progress.index % MARK_ROWS:
                progress.mark()
                await asyncio.sleep(0)  # Ctrl-C must work while a million finished rows are skipped

    def record(self, unfinished: list[tuple[int, str]], first_index: int | None) -> InputRecord | None:
        """Return what the next session should know of the input; None if it cannot be used again.

        Args:
            unfinished: (index, row id) of the rows that were read and are not done.
            first_index: index of the first such row that is missing there; None if there is no such row.
        """
        file, progress = self._input.file, self._progress
        if (file is None and self._input.rows is not None) or progress is None:
            return None
        position = None if self._grid is not None else progress.position(unfinished, first_index, self._all_have_ids)
        return InputRecord(
            is_file=file is not None, id_field=self._id_field, samples=self._samples, limit=self._limit,
            rows=self._input_rows, all_have_ids=self._all_have_ids,
            state=None if file is None else file.state, size=0 if file is None else file.size,
            checksums=[] if file is None else file.checksums, position=position,
        )  # fmt: skip

    def _fits(self, record: InputRecord) -> bool:
        """Return whether a record is that of such an input, read in the same way."""
        is_file, can_be_read_again = (
            self._input.file is not None,
            self._input.file is not None or self._input.rows is None,
        )
        ways = (record.is_file, record.id_field, record.samples)
        return can_be_read_again and ways == (is_file, self._id_field, self._samples)

    def _start(self, known: IdTable, record: InputRecord | None) -> InputPosition:
        """Return where to begin."""
        position = None if record is None or self._grid is not None else record.position
        if record is not None and position is not None and self._fits(record) and self._begins_like_earlier:
            is_checked = record == self._earlier_record or not record.is_file
            if is_checked:
                return position
        if len(known):
            known.forget_seen()  # they are those of another input
        return InputPosition(index=0)

    def _unfinished(self, start: InputPosition, known: IdTable) -> Iterator[Row]:
        """Yield the rows before the position that are not done."""
        names = {index: self._ids.without_sample(row_id) for index, row_id in start.unfinished}
        wanted = (index for index in sorted(names) if index < self._input_rows)
        for mark, indexes in groupby(wanted, lambda index: index // MARK_ROWS if start.marks else 0):
            at = start.marks[mark] if start.marks else LinePosition()
            rows = enumerate(
                self._input.located(start=mark * MARK_ROWS, cursor=LineCursor(at.offset, at.line)), mark * MARK_ROWS
            )
            for index in indexes:
                located = next((located for number, located in rows if number == index), None)
                if located is not None:
                    yield from self._samples_not_done(names[index], located[1], index, known)

    def _samples_not_done(self, name: str, fields: Fields, index: int, known: IdTable) -> Iterator[Row]:
        for sample in range(self._samples or 1):
            row_id = self._ids.of_sample(name, sample)
            if not known.is_done(row_id):
                with_variables = fields if self._sampler is None else self._sampler.sample(row_id, fields)
                yield Row(row_id, with_variables, index, sample)

    def must_be_unchanged(self) -> None:
        """Check that the input file, if there is one, has not changed since it was checked.

        Raises:
            InputChanged: it has changed.
        """
        if self._input.file is not None:
            self._input.file.must_be_unchanged()

    def _located(self, known: IdTable, progress: InputProgress) -> Iterable[LocatedRow]:
        start, self._may_be_done = progress.index, len(known) > 0
        can_skip = self._all_have_ids and self._id_field is None and self._samples is None and self._may_be_done
        located = self._input.located(known.is_done if can_skip else None, start=start, cursor=progress.cursor)
        return islice(located, None if self._limit is None else max(0, self._limit - start))

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
        is_new = self._all_have_ids and not self._may_be_done  # then no id need be looked up
        if is_new and self._samples is None and self._sampler is None:  # the usual case
            return [Row(name, fields, index)]
        rows = []
        for sample in range(self._samples or 1):
            row_id = self._ids.of_sample(name, sample)
            if self._all_have_ids:  # they differ
                is_pending = is_new or not known.is_done(row_id)
            else:
                before = known.mark_seen(row_id)
                if before is IdState.SEEN:
                    raise UsageError(f"{self.name}, {location}: duplicate id {row_id!r:.100}. Ids must be unique.")
                is_pending = before is IdState.UNKNOWN
            if is_pending:
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
