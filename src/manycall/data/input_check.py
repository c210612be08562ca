"""What is known of the rows before the first call: a file is checked as a whole, as far as the last session has not."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from manycall.data.input_record import EarlierInput, InputPosition
from manycall.data.prompt_error import PromptError
from manycall.data.row_files import LineCursor, LocatedRow
from manycall.data.row_ids import RowIds, SeenIds
from manycall.data.row_input import RowInput
from manycall.errors import UsageError
from manycall.records import Fields


class CheckedInput(NamedTuple):
    """What is known of the rows before the first call.

    Attributes:
        rows: number of input rows within the limit; None if unknown.
        first_row: fields of the first input row; None if unknown.
        fingerprint: hash of the bytes of a file that were read; "" for other inputs.
        all_have_ids: every row is known to have an id, and all ids differ.
        begins_like_earlier: the rows before the position of the last session are known to be the same.
    """

    rows: int | None
    first_row: Fields | None
    fingerprint: str = ""
    all_have_ids: bool = False
    begins_like_earlier: bool = False


class InputCheck(NamedTuple):
    """Checks the rows of one source.

    Attributes:
        input: the rows.
        ids: gives them their ids.
        limit: use only the first `limit` rows; None: all.
        use: called with the fields of each row that is checked; it raises UsageError or PromptError if they cannot be
            used.
    """

    input: RowInput
    ids: RowIds
    limit: int | None
    use: Callable[[Fields], object] | None

    def run(self, earlier: EarlierInput | None) -> CheckedInput:
        """Return what is known of the rows in advance. Inputs other than files are not read.

        Args:
            earlier: the input of the last session; None: check all rows.

        Raises:
            UsageError: a row of the file is not valid, an id occurs twice, or the file contains no rows.
        """
        first_row, length, file = self.input.first_row, self.input.length, self.input.file
        if file is None:
            rows, is_numbered = None if length is None else len(range(length)[: self.limit]), self.input.rows is None
            return CheckedInput(rows, first_row, all_have_ids=is_numbered, begins_like_earlier=is_numbered)
        if earlier is not None and (record := earlier.record).limit == self.limit and file.is_same(record):
            return CheckedInput(record.rows, self._first_row(), file.fingerprint, record.all_have_ids, True)
        checked = None if earlier is None else self._check_behind(earlier)
        checked = checked or self._check_rows(InputPosition(index=0), True, None)
        assert checked is not None
        if not checked.rows:
            raise UsageError(f"{file.path} contains no rows.")
        return checked

    def _check_behind(self, earlier: EarlierInput) -> CheckedInput | None:
        """Check the rows behind the position of the last session; None if that does not suffice."""
        record, position, file = earlier.record, earlier.record.position, self.input.file
        assert file is not None
        if position is None or not position.at.offset or (self.limit is not None and position.index > self.limit):
            return None
        if not file.begins_like(record, position.at.offset):
            return None
        open_names = {self.ids.without_sample(row_id) for _, row_id in position.unfinished}

        def may_occur_before(name: str) -> bool:
            return name in open_names or earlier.ids.is_done(self.ids.of_sample(name, 0))

        return self._check_rows(position, record.all_have_ids, may_occur_before)

    def _check_rows(
        self, start: InputPosition, all_have_ids: bool, may_occur_before: Callable[[str], bool] | None
    ) -> CheckedInput | None:
        """Check the rows from a position on; None if an id may occur before the position, too."""
        assert self.input.file is not None
        rows, first_row = start.index, self._first_row() if start.index else None
        seen = SeenIds(lambda: self._ids_between(start, rows))
        for location, fields in self._located(start, self.limit):
            first_row = fields if first_row is None else first_row
            name = self.ids.explicit(fields, location)
            if name is None:
                self.ids.from_content(fields, location)  # reports a text that cannot be encoded
                all_have_ids = False
            elif not seen.add(name):
                raise UsageError(f"{self.input.name}, {location}: duplicate id {name!r:.100}. Ids must be unique.")
            elif may_occur_before is not None and may_occur_before(name):
                return None
            if self.use is not None:
                self._check_use(self.use, location, fields)
            rows += 1
        return CheckedInput(rows, first_row, self.input.file.fingerprint, all_have_ids, start.index > 0)

    def _located(self, start: InputPosition, end: int | None) -> Iterator[LocatedRow]:
        located = self.input.located(start=start.index, cursor=LineCursor(start.at.offset, start.at.line))
        return islice(located, None if end is None else end - start.index)

    def _ids_between(self, start: InputPosition, end: int) -> Iterator[str]:
        """Yield the ids of the rows from a position up to row `end`, which are read again."""
        for location, fields in self._located(start, end):
            if (name := self.ids.explicit(fields, location)) is not None:
                yield name

    def _check_use(self, use: Callable[[Fields], object], location: str, fields: Fields) -> None:
        try:
            use(fields)
        except PromptError as error:
            raise UsageError(f"{self.input.name}, {location}: {error}") from None

    def _first_row(self) -> Fields | None:
        return next((fields for _, fields in self.input.located()), None)
