"""Whose turn it is at the table of columns: queries that a user waits for go first, long work makes room for them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class QueryTurns:
    """A lock with two kinds of users.

    Patient ones begin only while no urgent one waits. A long one looks at `is_awaited` and stops as soon as one does.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_taken, self._waiting = False, 0

    @property
    def is_awaited(self) -> bool:
        """Whether an urgent user waits: one who is not patient."""
        return self._waiting > 0

    @contextmanager
    def take(self, *, patient: bool) -> Iterator[None]:
        """Have the turn within a `with` block."""
        with self._changed:
            self._waiting += not patient
            self._changed.wait_for(lambda: not self._is_taken and not (patient and self._waiting))
            self._waiting -= not patient
            self._is_taken = True
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()
