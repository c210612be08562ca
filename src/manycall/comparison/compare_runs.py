"""Paired comparison of runs: pair the rows by id, test the differences of their scores, list the changed questions."""

from collections.abc import Collection
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from manycall.comparison.comparison_result import ChangedQuestion, Comparison, RunDifference
from manycall.comparison.protocol import require_same_protocol, setting_differences
from manycall.comparison.run_scores import RESPONSE_FIELDS, RunScores, row_scorer, sample_mean
from manycall.errors import UsageError
from manycall.evals.lm_eval.samples import open_output
from manycall.evals.no_answer import NoAnswer
from manycall.evals.stats.paired_tests import holm_adjust, paired_difference, score_change, weighted_difference
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.store.atomic_write import replace_file, storage_errors
from manycall.store.paths import check_writable

MAX_EXAMPLES = 10
"""Number of changed questions kept in the `Comparison`. The file written to `out` has all of them."""


def compare(
    *outputs: str | Path,
    scorer: str | Task | None = None,
    metric: str | None = None,
    allow_different: str | Collection[str] = (),
    no_answer: NoAnswer = "wrong",
    force: bool = False,
    out: str | Path | None = None,
) -> Comparison:
    """Compare the scores of every run after the first with those of the first, on the rows that both have.

    Answers are scored again with the current version of the task. Verdicts of a judge are used as stored.

    Args:
        outputs: Files written by `evaluate` or `judge`, or lm-eval's samples_*.jsonl. With `force`, also any JSONL
            file with `id` and `score`.
        scorer: Scorer for all runs, as for `score`. Default: the task that wrote each output.
        metric: The score to compare: a filter, or any field with a number, such as `judge.score`. Default: every
            score that all runs have.
        allow_different: Settings that may differ because they are what is compared, such as "prompt" or "fewshot",
            or "model" for judge runs. The model and the parameters may always differ, and for judge runs the judged
            answers.
        no_answer: "wrong" scores rows without an answer as 0 in all runs, "exclude" leaves them out (see `score`).
        force: Compare even if settings or questions differ, or if a file has no manifest.
        out: File for all changed questions, one JSON object per line.

    Raises:
        UsageError: There are fewer than two runs, they have no row or no score in common, their settings differ, or
            they were scored by functions that are not available.
        StorageError: `out` cannot be written.
    """
    if len(outputs) < 2:
        raise UsageError("Expected at least two runs to compare.")
    readers = [open_output(each) for each in outputs]
    target = check_writable(out, [path for reader in readers for path in reader.reads]) if out is not None else None
    if not force:
        allowed = [allow_different] if isinstance(allow_different, str) else allow_different
        for reader in readers[1:]:
            require_same_protocol(readers[0], reader, allowed)
    runs = [RunScores(reader, row_scorer(reader, scorer, metric, force), no_answer) for reader in readers]
    names = [name for name in runs[0].scores if all(name in other.scores for other in runs)]
    if metric is not None and (without := [str(run.output.path) for run in runs if not run.scores]):
        raise UsageError(f"{option('metric', metric)} is not a number in the rows of {' and '.join(without)}.")
    if not names:
        listed = "; ".join(f"{run.output.path}: {', '.join(run.scores) or 'none'}" for run in runs)
        raise UsageError(f"The runs have no score in common ({listed}). Choose one with {option('metric')}.")
    pairs = [RunPair(number, runs[0], other, name) for number, other in enumerate(runs[1:], 2) for name in names]
    for other in runs[1:]:
        require_same_questions(runs[0], other, force)
    differences = [pair.difference() for pair in pairs]
    adjusted = holm_adjust([d.difference.p_value for d in differences])
    changed = [[(pair, question) for question in pair.changed_questions()] for pair in pairs]
    if target is not None:
        lines = (msgspec.json.encode(pair.change(q)) + b"\n" for of_pair in changed for pair, q in of_pair)
        with storage_errors(target):
            replace_file(target, lines)
    interleaved = [entry for turn in zip_longest(*changed) for entry in turn if entry is not None]
    return Comparison(
        runs=[run.summary(names) for run in runs],
        differences=[replace(d, p_value_holm=p) for d, p in zip(differences, adjusted, strict=True)],
        setting_differences=setting_differences(readers),
        changed_examples=[pair.change(question) for pair, question in interleaved[:MAX_EXAMPLES]],
        changed_count=len({question for _, question in interleaved}),
        changes_out=target,
    )


class RunPair(NamedTuple):
    """The first run and another one, compared by one score."""

    number: int
    first: RunScores
    other: RunScores
    name: str

    def paired_scores(self) -> dict[str, tuple[float, float]]:
        """Return question -> (score in the first run, score in the other) for questions that both have."""
        first, other = (run.scores[self.name] for run in (self.first, self.other))
        return {
            question: (sample_mean(first[question]), sample_mean(other[question]))
            for question in first
            if question in other
        }

    def difference(self) -> RunDifference:
        """Return the paired difference of the scores, other run minus first run."""
        pairs, weights = self.paired_scores(), self.first.weights.get(self.name)
        unpaired = [len(run.scores[self.name]) - len(pairs) for run in (self.first, self.other)]
        if weights is not None and pairs:
            difference = weighted_difference([*pairs.values()], [weights[question] for question in pairs])
        else:
            binary = self.first.possible_scores | self.other.possible_scores <= {0.0, 1.0}
            difference = paired_difference(pairs.values(), binary=binary)
        return RunDifference(self.number, self.name, difference, *unpaired)

    def changed_questions(self) -> list[str]:
        """Return the ids of the questions whose scores differ."""
        return [question for question, pair in self.paired_scores().items() if score_change(*pair)]

    def change(self, question: str) -> ChangedQuestion:
        """Return the scores and answers of both runs on one question."""
        runs = (self.first, self.other)
        rows, grades = zip(*(run.first_row(question) for run in runs), strict=True)
        return ChangedQuestion(
            id=question,
            run=self.number,
            metric=self.name,
            scores=[sample_mean(run.scores[self.name][question]) for run in runs],
            question=str(rows[0].get("question", "")),
            answer=str(rows[0].get("answer", "")),
            extracted=[str(grade[self.name][0]) if self.name in grade else "" for grade in grades],
            responses=[str(next((row[name] for name in RESPONSE_FIELDS if name in row), "")) for row in rows],
            runs=[str(run.output.path) for run in runs],
        )


def require_same_questions(first: RunScores, other: RunScores, force: bool) -> None:
    """Refuse two runs that have no question in common, or in which the same id has different questions or answers.

    Raises:
        UsageError: they cannot be compared.
    """
    common = [question for question in first.prompt_hashes if question in other.prompt_hashes]
    if not common:
        examples = [repr(next(iter(run.prompt_hashes), "no row")) for run in (first, other)]
        raise UsageError(f"{first.output.path} and {other.output.path} have no id in common ({', '.join(examples)}).")
    for question in common:
        (number, hashes), (other_number, other_hashes) = first.prompt_hashes[question], other.prompt_hashes[question]
        if number != other_number:  # a task may vary its samples, for example the order of the choices
            continue
        pairs = zip(hashes, other_hashes, strict=True)
        if not force and any(a != b for a, b in pairs if a is not None and b is not None):
            raise UsageError(
                f"Row {question!r:.100} has a different question or answer in {other.output.path} than in "
                f"{first.output.path}. To compare them anyway: {option('force', True)}."
            )
