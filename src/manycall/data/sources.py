"""Where rows come from: a file, any iterable or async iterable, or nothing but a count.

A source is read twice if it is a file: once whole, before any call, so that a broken line 7 costs nothing;
then lazily, as slots come free. Both reads must see the same bytes (data/input_file.py). An iterable can be read only
once, so its faults show when they are met.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence, Sized
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from manycall.data.files import PASSED, Located, read
from manycall.data.input_file import InputFile
from manycall.data.nesting import TOO_DEEP, is_too_deep
from manycall.data.templates import BadPrompt
from manycall.data.variables import Crossing, Draw
from manycall.errors import UsageError
from manycall.ids import IdTable, Known, content_id, given_id
from manycall.records import Fields, Row

Rows = str | Path | Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]] | None
"""What a user may give: a path, an iterable or async iterable of mappings, or None (no rows, only a count)."""

T = TypeVar("T")


class Source:
    """A stream of rows with ids.

    Args:
        rows: see `Rows`. None: rows with nothing but an `id`, numbered from 0.
        samples: how often each row is to be done, as rows `id#0`, `id#1`, ...; None: once, as `id`.
            Without rows it is their number.
        id_field: the field that names a row, instead of `id` or `custom_id`.
        limit: take only so many rows (not samples).
        crossing: do each row once for every combination of these variables; without rows they are the rows.
        draw: variables that every row (and every sample of it) gets besides its own fields.

    Attributes:
        name: what messages call it.
        total: how many rows will come, samples counted; None if that cannot be known.
        times: how many each row that is given becomes, by samples and crossing.
        fingerprint: tells one input from another; "" where there is none.
        first: the first row's fields, if they can be known beforehand.
        path: the file, if it is one.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        samples: int | None = None,
        id_field: str | None = None,
        limit: int | None = None,
        crossing: Crossing | None = None,
        draw: Draw | None = None,
    ) -> None:
        if rows is None and crossing is not None:
            rows, crossing = crossing, None
        for name, value in (("-n", samples), ("--limit", limit)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        if not isinstance(rows, str | Path | Iterable | AsyncIterable | None):
            raise UsageError(f"rows must be a path or an iterable of mappings, not {type(rows).__name__}")
        self._samples = None if rows is None else samples
        self._id_field = id_field
        self._limit = limit
        self._crossing, self._draw = crossing, draw
        self._rows_of = self._undone if crossing is None else self._crossed
        self.times = (self._samples or 1) * (1 if crossing is None else len(crossing))
        self.name = "the rows given"
        self.total: int | None = None
        self.fingerprint = ""
        self.first: Fields | None = None
        self.path: Path | None = None
        self._file: InputFile | None = None
        self._all_named = False  # every row brings an id along, and no two the same
        self._rows: Iterable[Any] | AsyncIterable[Any] = ()
        if rows is None:
            self.name, self.first = "the prompt alone", {"id": 0}
            self._rows = ({"id": number} for number in range(samples or 1))
            self.total = min(samples or 1, limit or samples or 1)
        elif isinstance(rows, str | Path):
            self.name, self.path = str(rows), Path(rows)
            self._file = InputFile(self.path)
            self._check(self.path)
        else:
            self._rows = rows
            if isinstance(rows, Sequence) and rows and isinstance(rows[0], Mapping):
                self.first = dict(rows[0])
            if isinstance(rows, Sized):
                self.total = len(range(len(rows))[:limit]) * self.times
        if self.first is not None:
            self.first = self._with_variables(self.first)

    def __repr__(self) -> str:
        return f"<Source {self.name}, {'?' if self.total is None else self.total} rows>"

    def _check(self, path: Path) -> None:
        """Read the whole file once: every row readable, every id usable and different."""
        met, digest, rows = IdTable(), blake2b(digest_size=16), 0
        self._all_named = True
        for where, fields in self._cut(read(path, file=self._file)):
            self.first = fields if self.first is None else self.first
            name = self._given(fields, where)
            content = name or self._content(fields, where)
            self._all_named = self._all_named and name is not None
            if name is not None and met.meet(name) is not Known.NOT:
                raise UsageError(f"{path}, {where}: the id {name!r:.100} stands on an earlier line too")
            digest.update(content.encode("utf-8", "surrogatepass"))
            if self._draw is not None:
                self._with_variables(fields)  # a condition that nothing is drawn for is told now
            rows += 1
        if not rows:
            raise UsageError(f"{path} holds no rows")
        self.total = rows * self.times
        self.fingerprint = digest.hexdigest()

    def _with_variables(self, fields: Fields) -> Fields:
        """As one of the rows will look that are made of this one."""
        if self._crossing is not None:
            _, fields = next(self._crossing.times(fields))
        return fields if self._draw is None else self._draw("first", fields)

    def _cut(self, rows: Iterable[T]) -> Iterable[T]:
        return islice(rows, self._limit)

    def _given(self, fields: Mapping[str, Any], where: str) -> str | None:
        try:
            return given_id(fields, self._id_field)
        except ValueError as error:
            raise UsageError(f"{self.name}, {where}: the row {error}") from None

    def _content(self, fields: Mapping[str, Any], where: str) -> str:
        try:
            return content_id(fields)
        except ValueError as error:  # half a surrogate pair
            raise UsageError(f"{self.name}, {where}: {error}") from None

    def try_first(self, use: Callable[[Row], object]) -> None:
        """Use the first row, if it can be known: a misspelt name costs nothing if it is found before any call.

        Raises:
            UsageError: it does not fit (`use` raised BadPrompt).
        """
        if self.first is not None:
            try:
                use(Row("first", self.first))
            except BadPrompt as error:
                raise UsageError(f"{self.name}: {error}") from None

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest says of it: enough to read the same rows again, if they are in a file."""
        about = {"rows": self.name, "count": self.total, "hash": self.fingerprint, "samples": self._samples}
        return {**about, "id_field": self._id_field, "is_file": self.path is not None}

    def checksum(self) -> str:
        """What tells these rows from others: all of them, whatever the limit; "" if they can be read only once.

        Raises:
            UsageError: a row that cannot be used.
        """
        if not isinstance(self._rows, Sequence):
            return ""
        digest, rows = blake2b(digest_size=8), 0
        for where, fields in self._located(self._rows, IdTable()):
            digest.update(self._content(fields, where).encode())
            rows += 1
        return f"{rows:,} rows, checksum {digest.hexdigest()}"

    def ids(self) -> Iterator[str]:
        """The ids of a file's rows, in its order. Otherwise as `rows`."""
        known, repeats = IdTable(), dict[str, int]()
        for index, located in enumerate(self._cut(self._located((), known))):
            yield from (row.id for row in self._undone(*located, index, known, repeats))

    async def rows(self, known: IdTable) -> AsyncIterator[Row]:
        """The rows that are still to be done: those not DONE in `known`, where each is noted as met if it need be.

        Raises:
            InputChanged: the file does not hold the rows that were checked.
            UsageError: a row that cannot be used, or an id that came before.
        """
        repeats: dict[str, int] = {}
        index = 0
        if isinstance(self._rows, AsyncIterable):
            async for given in _first(self._rows, self._limit):
                for row in self._rows_of(*self._plain(given, index), index, known, repeats):
                    yield row
                index += 1
            return
        for located in self._cut(self._located(self._rows, known)):
            if not index % 1000:
                await asyncio.sleep(0)  # passing over a million finished rows must not deafen us to Ctrl-C
            if located is not PASSED:
                for row in self._rows_of(*located, index, known, repeats):
                    yield row
            index += 1

    def must_be_unchanged(self) -> None:
        """Make sure that the file, if it is one, still holds the rows that were checked.

        Raises:
            InputChanged: it does not.
        """
        if self._file is not None:
            self._file.must_be_unchanged()

    def _located(self, rows: Iterable[Any], known: IdTable) -> Iterator[Located]:
        if self.path is None:
            return map(self._plain, rows, count())
        may_pass = self._all_named and self._id_field is None and self._samples is None and len(known)
        return read(self.path, known.look if may_pass else None, file=self._file)

    def _plain(self, fields: Any, index: int) -> Located:
        """A row that somebody's program gave, as it would be if it came from a file."""
        where = f"row {index + 1}"
        if not isinstance(fields, Mapping):
            raise UsageError(f"{self.name}, {where}: a row must be a mapping with fields, not {type(fields).__name__}")
        try:
            text = msgspec.json.encode(dict(fields))
            plain = msgspec.json.decode(text)
        except RecursionError:
            raise UsageError(f"{self.name}, {where}: {TOO_DEEP}") from None
        except (TypeError, ValueError) as error:
            raise UsageError(f"{self.name}, {where}: cannot be written as JSON: {error}") from None
        if is_too_deep(plain, text):
            raise UsageError(f"{self.name}, {where}: {TOO_DEEP}")
        return where, plain

    def _crossed(self, where: str, fields: Fields, index: int, known: IdTable, repeats: dict[str, int]) -> list[Row]:
        assert self._crossing is not None
        each = self._crossing.times(fields)
        return [row for tail, more in each for row in self._undone(where, more, index, known, repeats, tail)]

    def _undone(
        self, where: str, fields: Fields, index: int, known: IdTable, repeats: dict[str, int], tail: str = ""
    ) -> list[Row]:
        """Of the samples of a row, those that are still to be done. `tail` is what its name gets from a crossing."""
        name = self._given(fields, where)
        if name is None:
            name = self._numbered(self._content(fields, where), repeats, known)
        elif tail:
            name += tail
        rows = []
        for sample in range(self._samples or 1):
            row_id = self._sample_id(name, sample)
            before = known.look(row_id) if self._all_named else known.meet(row_id)
            if before is Known.MET:
                raise UsageError(f"{self.name}, {where}: the id {row_id!r:.100} came before")
            if before is Known.NOT:
                drawn = fields if self._draw is None else self._draw(row_id, fields)
                rows.append(Row(row_id, drawn, index, sample))
        return rows

    def _sample_id(self, name: str, sample: int) -> str:
        return name if self._samples is None else f"{name}#{sample}"

    def _numbered(self, name: str, repeats: dict[str, int], known: IdTable) -> str:
        """`name`, or `name-2`, `name-3`, ... where rows of equal content came before."""
        if known.look(self._sample_id(name, 0)) is not Known.MET:
            return name
        repeats[name] = repeats.get(name, 1) + 1
        return f"{name}-{repeats[name]}"


async def _first(rows: AsyncIterable[T], limit: int | None) -> AsyncIterator[T]:
    """At most so many; the one after them is never asked for."""
    asked = 0
    each = aiter(rows)
    while asked != limit:
        try:
            row = await anext(each)
        except StopAsyncIteration:
            return
        asked += 1
        yield row
