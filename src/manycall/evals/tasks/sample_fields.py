"""Fields of a row that differ between its samples (`Task.vary`)."""

from collections.abc import Callable

from manycall.evals.tasks.task import Task
from manycall.records import Fields


class SampleFields:
    """Applies a function to the fields of each sample; a `FieldSampler` of `RowSource`.

    Args:
        vary: see `Task.vary`.
        has_numbers: ids end with the number of the sample: `7#2` is number 2. If not, all samples have number 0.
    """

    def __init__(self, vary: Callable[[Fields, int], Fields], *, has_numbers: bool) -> None:
        self._vary, self._has_numbers = vary, has_numbers

    def sample(self, row_id: str, fields: Fields) -> Fields:
        """Return the fields of the sample with this id."""
        number = row_id.rpartition("#")[2] if self._has_numbers else ""
        return self._vary(fields, int(number) if number.isdecimal() else 0)


def sample_fields(task: Task, *, has_numbers: bool) -> SampleFields | None:
    """Return the sampler of a task; None if all samples of a question are equal."""
    return None if task.vary is None else SampleFields(task.vary, has_numbers=has_numbers)
