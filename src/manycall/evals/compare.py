"""Runs beside each other, row by row: which is better, by how much, and on which rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.evals.comparison import Change, Comparison, Side, Versus
from manycall.evals.metrics import NO_SCORE, Mean
from manycall.evals.report import Score, short
from manycall.evals.stats.paired import difference
from manycall.store.lines import write_whole, writing
from manycall.store.output import Output, may_write

MOST_SHOWN = 10
"""Changed rows that are kept in the comparison itself; all of them go to the file."""
_IN_QUESTION = {"judge": {"answers", "against", "samples"}}
"""What may differ between two runs of one protocol, because it is what is compared; for judgements, and ..."""
_IN_QUESTION_ELSE = {"model", "params", "samples"}
"""... for all others."""
_ASKED = ("question", "answer")
"""Fields that must be the same in both, if both have them."""


def compare(
    *runs: str | Path,
    by: str | None = None,
    anyway: bool = False,
    out: str | Path | None = None,
) -> Comparison:
    """Compare the scores of the second run, and of any others, with those of the first, on the rows that both have.

    Args:
        runs: what `evaluate` or `judge` wrote; also any JSONL with `id` and `score`, with `anyway`.
        by: the score to compare: a filter, or any field with a number, `judge.score`; default: each that all have.
        anyway: compare different protocols, or files that do not say how they were made.
        out: where the rows that changed go, one a line.

    Raises:
        UsageError: fewer than two runs, no row or no score in common, or different protocols.
        StoreError: `out` cannot be written.
    """
    if len(runs) < 2:
        raise UsageError("there must be two runs or more to compare")
    outputs = [Output(run) for run in runs]
    target = may_write(out, [path for output in outputs for path in output.reads]) if out is not None else None
    if not anyway:
        for output in outputs[1:]:
            _same_protocol(outputs[0], output)
    read = [_Read(output, by) for output in outputs]
    names = [name for name in read[0].scores if all(name in other.scores for other in read)]
    if by is not None and (without := [str(each.output.path) for each in read if not each.scores]):
        raise UsageError(f"--by {by!r} names no number in the rows of {' and '.join(without)}")
    if not names:
        had = "; ".join(f"{each.output.path}: {', '.join(each.scores) or 'none'}" for each in read)
        raise UsageError(f"the runs have no score in common ({had}): name one with --by")
    versus, changed = list[Versus](), list[_Changed]()
    for number, other in enumerate(read[1:], 2):
        both = _common(read[0], other, anyway)
        for name in names:
            first, second = read[0].scores[name], other.scores[name]
            shared = [question for question in both if question in first and question in second]
            pairs = [(_mean(first[question]), _mean(second[question])) for question in shared]
            versus.append(Versus(number, name, difference(pairs), len(first) - len(shared), len(second) - len(shared)))
            changed += [
                (read[0], other, name, question) for question, (a, b) in zip(shared, pairs, strict=True) if a != b
            ]
    if target is not None:
        with writing(target):
            write_whole(target, (msgspec.json.encode(_change(*each)) + b"\n" for each in changed))
    return Comparison(
        sides=[each.side(names) for each in read],
        versus=versus,
        differs=_differing(outputs),
        changes=[_change(*each) for each in changed[:MOST_SHOWN]],
        changed=len(changed),
        changes_out=target,
    )


class _Read:
    """The scores of one run, and where its rows stand: some hundred bytes a question, and none of its texts."""

    def __init__(self, output: Output, by: str | None) -> None:
        self.output = output
        self.scores: dict[str, dict[str, tuple[int, float]]] = {}  # name -> question -> (samples, their sum)
        self.places: dict[str, int] = {}
        self.asked: dict[str, tuple[int | None, ...]] = {}
        self.rows = self.truncated = 0
        for offset, row in output.rows():
            if "id" not in row:
                raise UsageError(f"{output.path}, the row at byte {offset:,} has no id, by which rows are paired")
            question, _ = output.split(str(row["id"]))
            self.rows += 1
            self.truncated += row.get("finish_reason") == "length"
            self.places.setdefault(question, offset)
            self.asked[question] = tuple(hash(repr(row[name])) if name in row else None for name in _ASKED)
            for name, value in _numbers(row, by):
                questions = self.scores.setdefault(name, {})
                count, total = questions.get(question, (0, 0.0))
                questions[question] = (count + 1, total + value)

    def side(self, names: Iterable[str]) -> Side:
        """What is said of this run alone."""
        output = self.output
        task = str(output.identity.get("job", "?"))
        scores = []
        for name in names:
            mean = Mean()
            for question in self.scores[name].values():
                mean.add(_mean(question))
            scores.append(Score(task, name, mean.value, mean.stderr, mean.count, mean.interval))
        model = str(output.identity.get("model", "?"))
        return Side(output.path, model, scores, self.rows, self.truncated, output.failed, output.missing(self.rows))


def _numbers(row: Mapping[str, Any], by: str | None) -> Iterator[tuple[str, float]]:
    """(name, score) for each score in a row: `score`, a number or several by name; and that of a judge."""
    score, judged = row.get("score"), row.get("judge")
    found = dict(score) if isinstance(score, dict) else {"score": score}
    if isinstance(judged, dict):
        found["judge"] = judged.get("score")
    if by is not None:
        found = {by: found.get(by, _field(row, by.split(".")))}
    for name, value in found.items():
        if isinstance(value, int | float) and abs(value) < NO_SCORE:
            yield name, float(value)


def _field(row: Any, path: Sequence[str]) -> Any:
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row


def _same_protocol(first: Output, other: Output) -> None:
    for output in (first, other):
        if output.manifest is None:
            raise UsageError(
                f"{output.path} does not say how it was made (there is no {output.path.name}.run beside it); "
                "--anyway compares it all the same"
            )
    a, b = _protocol(first.identity), _protocol(other.identity)
    if a != b:
        differ = [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]
        said = "; ".join(f"{name}: {short(a.get(name))} and {short(b.get(name))}" for name in differ)
        raise UsageError(f"{first.path} and {other.path} follow different protocols ({said}); --anyway compares them")


def _protocol(identity: Mapping[str, Any]) -> dict[str, Any]:
    kind, _, _ = str(identity.get("job", "")).partition(" ")
    free = _IN_QUESTION.get(kind, _IN_QUESTION_ELSE)
    return {name: value for name, value in identity.items() if name not in free}


def _differing(outputs: Sequence[Output]) -> list[str]:
    """What tells the runs apart, as far as they say."""
    flat = [_facts(output) for output in outputs]
    names = dict.fromkeys(name for fact in flat for name in fact)
    return [
        f"{name}: " + " | ".join(short(fact.get(name)) for fact in flat)
        for name in names
        if any(fact.get(name) != flat[0].get(name) for fact in flat)
    ]


def _facts(output: Output) -> dict[str, Any]:
    identity = dict(output.identity)
    params = {f"params.{name}": value for name, value in (identity.pop("params", None) or {}).items()}
    version = {"manycall": output.manifest.version} if output.manifest else {}
    return {**identity, **params, **version}


def _common(first: _Read, other: _Read, anyway: bool) -> list[str]:
    both = [question for question in first.places if question in other.places]
    if not both:
        examples = [repr(next(iter(read.places), "no row")) for read in (first, other)]
        raise UsageError(f"{first.output.path} and {other.output.path} have no id in common ({', '.join(examples)})")
    for question in both:
        told = zip(first.asked[question], other.asked[question], strict=True)
        if not anyway and any(a != b for a, b in told if a is not None and b is not None):
            raise UsageError(
                f"the row {question!r:.100} has another question or answer in {other.output.path} than in "
                f"{first.output.path}; --anyway compares them all the same"
            )
    return both


_Changed = tuple[_Read, _Read, str, str]
"""(first run, other run, score, question)."""


def _change(first: _Read, other: _Read, name: str, question: str) -> Change:
    sides = (first, other)
    rows = [next(side.output.at([side.places[question]])) for side in sides]
    return Change(
        id=question,
        by=name,
        scores=[_mean(side.scores[name][question]) for side in sides],
        question=str(rows[0].get("question", "")),
        answer=str(rows[0].get("answer", "")),
        extracted=[str(_field(row, ["extracted", name]) or "") for row in rows],
        responses=[str(row.get("response", row.get("text", ""))) for row in rows],
        runs=[str(side.output.path) for side in sides],
    )


def _mean(samples: tuple[int, float]) -> float:
    count, total = samples
    return total / count
