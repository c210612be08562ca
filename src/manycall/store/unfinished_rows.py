"""Rows that are not done: those that were read from the input, and those with calls in the journal.

From them follows where the next session has to begin: behind the rows and calls that are all done, with these
exceptions (store/resume_cache.py).
"""

MAX_UNFINISHED_ROWS = 20_000
"""More rows that were read, or have calls, are not remembered, which would take 5 MB for each 20,000. The next session
then begins at the first of them."""


class UnfinishedRows:
    """The unfinished rows with their positions in the input and the offsets of their calls.

    Attributes:
        first_index: position of the first row that is not remembered; None if all are.
        first_call: offset of the first call that is not remembered; None if all are.
    """

    def __init__(self) -> None:
        self._indexes: dict[str, int] = {}
        self._calls: dict[str, list[int]] = {}
        self.first_index: int | None = None
        self.first_call: int | None = None

    def __repr__(self) -> str:
        return f"<UnfinishedRows: {len(self._indexes)} read, {len(self._calls)} with calls>"

    def record_read(self, row_id: str, index: int) -> None:
        """Record that a row was read from the input."""
        if len(self._indexes) < MAX_UNFINISHED_ROWS or row_id in self._indexes:
            self._indexes[row_id] = index
        elif self.first_index is None or index < self.first_index:
            self.first_index = index

    def record_call(self, row_id: str, offset: int) -> None:
        """Record that a row has a call at this offset of the journal."""
        calls = self._calls.get(row_id)
        if calls is not None:
            calls.append(offset)
        elif len(self._calls) < MAX_UNFINISHED_ROWS:
            self._calls[row_id] = [offset]
        elif self.first_call is None or offset < self.first_call:
            self.first_call = offset

    def record_done(self, row_id: str) -> None:
        """Record that a row is done."""
        self._indexes.pop(row_id, None)
        self._calls.pop(row_id, None)

    def rows(self) -> list[tuple[int, str]]:
        """Return (position in the input, row id) of the rows that were read from it, in its order."""
        return sorted((index, name) for name, index in self._indexes.items())

    def calls_before(self, end: int) -> list[int]:
        """Return the offsets of the calls before an offset of the journal, in ascending order."""
        return sorted(offset for calls in self._calls.values() for offset in calls if offset < end)
