"""How far a session has read its input, for the record that it leaves to the next one."""

from manycall.data.input_record import MARK_ROWS, MAX_REPEATS, InputPosition, LinePosition
from manycall.data.row_files import LineCursor
from manycall.records import Row


class InputProgress:
    """The place of a source in its input.

    Args:
        start: where the session begins.

    Attributes:
        index: number of rows before the place.
        cursor: the beginning of the next line, in a file of JSON lines.
        repeats: for rows without an id: how often the content of a row has occurred.
        current: the rows that the last input row has become.
    """

    def __init__(self, start: InputPosition) -> None:
        self.index, self.cursor = start.index, LineCursor(start.at.offset, start.at.line)
        self.repeats = dict(start.repeats)
        self.current: list[Row] = []
        self._start_index, self._waiting = start.index, [*start.unfinished]
        self._marks = [*start.marks]

    def __repr__(self) -> str:
        return f"<InputProgress {self.index} rows read>"

    def begin_rows(self, end: int) -> None:
        """Record that the unfinished rows before the start were read, if they are among the first `end` rows."""
        self._waiting = [each for each in self._waiting if each[0] >= end]

    def count_row(self) -> int:
        """Record that an input row was read. Return its index."""
        index = self.index
        self.index = index + 1
        return index

    def expand_to(self, rows: list[Row]) -> list[Row]:
        """Record the rows that the last input row has become, and return them."""
        self.current = rows
        return rows

    def mark(self) -> None:
        """Remember the place. To be called before every `MARK_ROWS`-th row is read."""
        if len(self._marks) * MARK_ROWS == self.index:
            self._marks.append(LinePosition(self.cursor.offset, self.cursor.line))

    def position(
        self, unfinished: list[tuple[int, str]], first_index: int | None, all_have_ids: bool
    ) -> InputPosition | None:
        """Return the place, with the unfinished rows before it; None if the next session must read all rows.

        Args:
            unfinished: (index, row id) of the rows that were read and are not done.
            first_index: index of the first row that is missing there; None if there is no such row.
            all_have_ids: every row has an id.
        """
        index, at, marks = self.index, LinePosition(self.cursor.offset, self.cursor.line), self._marks
        if first_index is not None and first_index < index:
            if not all_have_ids or not at.offset:
                return None  # the rows behind were seen and would look repeated; or there are no marks
            number = first_index // MARK_ROWS
            index, at = number * MARK_ROWS, marks[number]
        if len(self.repeats) > MAX_REPEATS:
            return None
        waiting = [*unfinished, *self._waiting, *((row.index, row.id) for row in self.current)]
        return InputPosition(
            index=index, at=at, marks=marks[: -(-index // MARK_ROWS)] if at.offset else [],
            unfinished=sorted({each for each in waiting if each[0] < index}), repeats=self.repeats,
        )  # fmt: skip
