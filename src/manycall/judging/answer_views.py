"""What a judge sees of a row: one answer, or two answers in one order or in both."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from manycall.data.prompt_error import PromptError
from manycall.errors import UsageError
from manycall.evals.row_grades import have_different_questions
from manycall.records import Row
from manycall.store.output_reader import OutputReader


class SingleAnswers:
    """Present each answer on its own."""

    orders = 0

    def presentations(self, row: Row) -> Iterator[tuple[bool, dict[str, Any]]]:
        """Yield (whether the two answers are swapped, the fields for the rubric's template)."""
        yield False, row.fields

    def combine(self, replies: Sequence[Mapping[str, Any]]) -> str:
        """Return the verdict of the row, given all replies to it."""
        return str(replies[0]["verdict"])


class AnswerPairs(SingleAnswers):
    """Present each answer together with the answer of another run to the same question.

    Only the ids and the byte offsets of the other run's rows are kept in memory.
    """

    def __init__(self, path: Path, id_field: str | None, both: bool) -> None:
        self._output, self._id, self._both = OutputReader(path), id_field or "id", both
        self.orders = 2 if both else 1
        self._row_offsets: dict[str, int] = {}
        for offset, row in self._output.rows():
            if self._id not in row:
                raise UsageError(
                    f"{path}, row at byte {offset:,}: the field {self._id!r}, by which answers are paired, is missing."
                )
            self._row_offsets[str(row[self._id])] = offset

    def presentations(self, row: Row) -> Iterator[tuple[bool, dict[str, Any]]]:
        row_id = str(row.fields.get(self._id, row.id))
        if row_id not in self._row_offsets:
            raise PromptError(f"{self._output.path} has no row {row_id!r:.100} to compare with.")
        other = next(self._output.read_at([self._row_offsets[row_id]]))
        if "response" in row.fields and have_different_questions(row.fields, other):
            raise PromptError(f"{self._output.path} has a different question or answer in row {row_id!r:.100}.")
        shared = {field: value for field, value in row.fields.items() if field in other and other[field] == value}
        hashed_order = blake2b(row_id.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] % 2 == 1
        for swapped in (False, True) if self._both else (hashed_order,):
            first, second = (other, row.fields) if swapped else (row.fields, other)
            yield swapped, {**shared, "first": first, "second": second}

    def combine(self, replies: Sequence[Mapping[str, Any]]) -> str:
        """Return "A" if the judged answer wins in every order, "B" if the other run's answer does, else "tie"."""
        verdicts = {_undo_swap(reply["verdict"], reply["swapped"]) for reply in replies}
        return str(verdicts.pop()) if len(verdicts) == 1 else "tie"


def _undo_swap(verdict: str, swapped: bool) -> str:
    return {"A": "B", "B": "A"}.get(verdict, verdict) if swapped else verdict
