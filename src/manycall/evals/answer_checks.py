"""Checks for unusual answers: unparsed or slow ones, thinking text in them, too many rows, equal samples."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from manycall.evals.protocol_changes import sent_params
from manycall.evals.row_grades import may_contain_thinking
from manycall.evals.scoring.math_equality import SECONDS, TIMED_OUT
from manycall.evals.scoring.text_answers import UNPARSED
from manycall.option_flags import option
from manycall.providers.reasoning import begins_with_thinking
from manycall.store.output_reader import OutputReader

MIN_WARNING_SHARE = 0.95
"""Share of the questions whose samples must all be equal for a note. Short answers can be equal by chance."""


class AnswerChecks:
    """Notes about the answers of one output, collected row by row.

    If questions have several samples, the hash of every answer is kept in memory.

    Attributes:
        unparsed: number of answers in which a filter found nothing, by filter.
    """

    def __init__(self, output: OutputReader) -> None:
        self.unparsed: Counter[str] = Counter()
        self._output = output
        self._rows = self._with_thinking = self._with_closing_tag = self._timed_out = 0
        self._response_hashes: dict[str, list[int]] = defaultdict(list)

    def add(self, row_id: str, response: str, grades: Mapping[str, tuple[Any, float]]) -> None:
        """Add a row. `grades` holds (extracted answer, score) by filter name."""
        self._rows += 1
        self._with_thinking += begins_with_thinking(response)
        self._with_closing_tag += "</think>" in response and "<think>" not in response
        self.unparsed.update(
            name for name, (answer, _) in grades.items() if isinstance(answer, str) and answer == UNPARSED
        )
        self._timed_out += any(answer == TIMED_OUT for answer, _ in grades.values() if isinstance(answer, str))
        if self._output.has_samples:
            question, _ = self._output.split_sample_id(row_id)
            self._response_hashes[question].append(hash(response))

    def notes(self) -> list[str]:
        """Return the notes about all rows added."""
        return [*self._more_rows(), *self._too_slow(), *self._thinking(), *self._closing_tags(), *self._equal_samples()]

    def _thinking(self) -> list[str]:
        if not self._with_thinking:
            return []
        how = "is not scored" if may_contain_thinking(self._output) else "was scored as a part of the answer"
        return [f"{self._with_thinking:,} responses begin with thinking text, which {how}."]

    def _closing_tags(self) -> list[str]:
        if not self._with_closing_tag:
            return []
        return [
            f"{self._with_closing_tag:,} responses contain </think> without an opening tag. If the text before it is "
            "thinking text, it was scored as a part of the answer. Start the server with its reasoning parser."
        ]

    def _too_slow(self) -> list[str]:
        if not self._timed_out:
            return []
        return [f"{self._timed_out:,} answers could not be compared within {SECONDS:g} s and count as wrong."]

    def _more_rows(self) -> list[str]:
        expected = self._output.expected
        if expected is None or self._rows <= expected:
            return []
        return [
            f"The last session was started for {expected:,} rows, but the output has {self._rows:,} rows from earlier "
            "sessions. The score includes all of them."
        ]

    def _equal_samples(self) -> list[str]:
        repeated = [hashes for hashes in self._response_hashes.values() if len(hashes) > 1]
        equal = sum(len(set(hashes)) == 1 for hashes in repeated)
        if not repeated:
            return []
        if sent_params(self._output, {}).get("temperature") == 0:
            return [
                "The samples were generated at temperature 0, so they are expected to be equal. "
                f"Use for example {option('temperature', 0.7)}."
            ]
        if equal < MIN_WARNING_SHARE * len(repeated):
            return []
        return [
            f"For {equal:,} of {len(repeated):,} questions all samples are the same text, so they add no information. "
            "Check whether the endpoint caches responses or all samples use the same `seed`."
        ]
