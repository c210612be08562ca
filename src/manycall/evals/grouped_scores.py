"""Scores of groups of rows: of those with the same value in a field, and of several such groups together."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from manycall.errors import UsageError
from manycall.evals.eval_result import Score
from manycall.evals.score_accumulator import ScoreAccumulator
from manycall.evals.stats.group_means import SubtaskMean, mean_by_rows, mean_by_subtasks
from manycall.evals.tasks.task import SubtaskGroup
from manycall.render import as_text

GROUP_MEANS = {"rows": mean_by_rows, "subtasks": mean_by_subtasks}
"""Weight of a group (`SubtaskGroup.weight`) -> formula of its mean."""


class GroupedScores:
    """The scores of each group of rows that have the same value in a field.

    Args:
        field: name of the field. "": there are no groups.
        new_accumulator: creates an empty `ScoreAccumulator` for a group.
        required: every row must have the field. Otherwise rows without it are in no group.
    """

    def __init__(self, field: str, new_accumulator: Callable[[], ScoreAccumulator], *, required: bool) -> None:
        self._field, self._required = field, required
        self._accumulators: defaultdict[str, ScoreAccumulator] = defaultdict(new_accumulator)

    def add(
        self,
        row: Mapping[str, Any],
        grades: Mapping[str, tuple[Any, float]],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Add a row. See `ScoreAccumulator.add`.

        Raises:
            UsageError: the row does not have the field.
        """
        if not self._field:
            return
        if self._field in row:
            self._accumulators[as_text(row[self._field])].add(str(row.get("id", "")), grades, weights)
        elif self._required:
            raise UsageError(f"Row {row.get('id')!r:.100} has no field {self._field!r}. Its fields: {', '.join(row)}.")

    def scores(self, votes: Mapping[str, int]) -> Iterator[tuple[str, list[Score]]]:
        """Yield (value of the field, scores of its rows), sorted by value.

        The scores have no bounds for failed rows, because the group of a failed row is not known.
        """
        for name, accumulator in sorted(self._accumulators.items()):
            yield name, [replace(score, worst_case=None, failed_as_wrong=None) for score in accumulator.scores(votes)]


def subtask_group_scores(
    groups: Sequence[SubtaskGroup], subtasks: Mapping[str, Sequence[Score]]
) -> Iterator[tuple[str, list[Score]]]:
    """Yield (name, scores) of each group that has subtasks with rows: the scores that all its subtasks have.

    A subtask whose questions have fewer samples than the others lacks some votes.

    Args:
        subtasks: the scores of each subtask, one per filter.
    """
    for group in groups:
        members = [
            {score.filter: score for score in scores}
            for name, scores in subtasks.items()
            if group.subtasks is None or name in group.subtasks
        ]
        if members:
            common = [name for name in members[0] if all(name in scores for scores in members)]
            yield group.name, [_group_score(group, [scores[name] for scores in members]) for name in common]


def _group_score(group: SubtaskGroup, scores: Sequence[Score]) -> Score:
    parts = [SubtaskMean(s.value, s.stderr, s.count) for s in scores if s.value is not None]
    if not parts:
        return Score(scores[0].task, scores[0].filter, None, None, 0)
    mean = GROUP_MEANS[group.weight](parts)
    return Score(scores[0].task, scores[0].filter, mean.value, mean.stderr, mean.rows)
