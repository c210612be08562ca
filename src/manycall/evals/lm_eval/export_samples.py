"""Write the samples of an output in lm-eval's format: a file for each subtask, a line for each question and filter."""

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.evals.lm_eval.task_names import metric_name, subtask_name
from manycall.evals.no_answer import UnansweredRows, no_answer_grades
from manycall.evals.protocol_changes import sent_params
from manycall.evals.row_grades import RowGrades
from manycall.evals.scoring.scorer_process import grade_function
from manycall.evals.stats.repeated_samples import ScoredSample, majority_sample
from manycall.evals.tasks.registry import BENCHMARKS
from manycall.evals.tasks.sample_fields import sample_fields
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.ids import IdTable
from manycall.option_flags import option
from manycall.records import Row
from manycall.store.output_reader import OutputReader

NO_FILTER = "none"
"""lm-eval's name of the filter of a task that has none."""


class TaskSamples:
    """The samples of a task, or of one of its subtasks.

    Attributes:
        name: lm-eval's name of the (sub)task.
        subtask: the value of `Task.subtask`; "": the samples are those of the whole task.
        path: the file; it exists only if there is a sample.
        questions: number of questions of the (sub)task.
        scores: scores by filter, in the order of the questions.
        weights: weights of the scores, by the filters that have weights.
    """

    def __init__(self, name: str, subtask: str, path: Path) -> None:
        self.name, self.subtask, self.path = name, subtask, path
        self.questions = 0
        self.scores: dict[str, list[float]] = {}
        self.weights: dict[str, list[float]] = {}
        self._file: TextIO | None = None
        self._digest = sha256()

    @property
    def digest(self) -> str:
        """lm-eval's hash of all questions, prompts and targets."""
        return self._digest.hexdigest()

    @property
    def answered(self) -> int:
        """Number of questions with a score."""
        return max(map(len, self.scores.values()), default=0)

    def count_question(self, doc_id: int) -> None:
        """Count the question with this number among those of the (sub)task. Each filter passes all of them."""
        self.questions = max(self.questions, doc_id + 1)

    def add(self, line: dict[str, Any], scores: Mapping[str, float], weights: Mapping[str, float]) -> None:
        """Write a line and add the scores in it."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8")
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._digest.update((line["doc_hash"] + line["prompt_hash"] + line["target_hash"]).encode())
        for kept, new in ((self.scores, scores), (self.weights, weights)):
            for name, value in new.items():
                kept.setdefault(name, []).append(value)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class SamplesWriter:
    """Writes the samples of an output, one for each question and filter.

    Args:
        path_of: returns the path of the file for lm-eval's name of a (sub)task.
    """

    def __init__(self, output: OutputReader, task: Task, path_of: Callable[[str], Path]) -> None:
        self._output, self._task, self._path_of = output, task, path_of
        self._prompt, self._grade = TaskPrompt(task), grade_function(task)
        params = sent_params(output, task.params)
        temperature = params.get("temperature", 1.0)
        unanswered = UnansweredRows(output, "wrong")
        self._offsets: dict[str, int | None] = dict.fromkeys(name for name, _ in unanswered.items())
        self._offsets |= {str(row.get("id")): offset for offset, row in output.rows()}
        self._settings = {
            "until": params.get("stop", []),
            "do_sample": temperature != 0,
            "temperature": temperature,
            "max_gen_toks": params.get("max_tokens", params.get("max_completion_tokens")),
        }

    async def write(self) -> list[TaskSamples]:
        """Write the samples of each (sub)task that has some, grouped by filter as in lm-eval."""
        parts: dict[str, TaskSamples] = {}
        try:
            for label, names in self._layout().items():
                await self._write(label, names, parts)
        finally:
            for part in parts.values():
                part.close()
        answered = [part for part in parts.values() if part.answered]
        if self._offsets and not answered:
            raise UsageError(
                f"{self._output.path} contains no question of {self._task.name}. "
                f"Pass the input file with {option('data')}."
            )
        return answered or list(parts.values())

    def _layout(self) -> dict[str, list[str]]:
        """Return lm-eval's filters, each with our scores. Where our filters are metrics, there is only one filter."""
        names = [*self._task.filters, *self._task.votes]
        has_metrics = self._task.name in BENCHMARKS and not BENCHMARKS[self._task.name].metric
        return {NO_FILTER: names} if has_metrics else {name: [name] for name in names}

    async def _write(self, label: str, names: list[str], parts: dict[str, TaskSamples]) -> None:
        """Write the samples of one filter."""
        offsets, needed = self._offsets, self._task.votes.get(label, 1)
        positions = Counter[str]()
        async with aclosing(self._questions()) as questions:
            async for rows in questions:
                part = self._part(rows[0], parts)
                doc_id, positions[part.name] = positions[part.name], positions[part.name] + 1
                part.count_question(doc_id)
                if len(rows) < needed or any(row.id not in offsets for row in rows[:needed]):
                    continue
                texts = [self._response(offsets[row.id]) for row in rows if row.id in offsets]
                grades = {name: self._score(rows, texts, name) for name in names}
                weights = {name: w for name, w in self._task.weights(rows[0].fields).items() if name in grades}
                line = {"doc_id": doc_id, **self._sample(rows[0], texts, label, grades, weights)}
                part.add(line, {name: value for name, (_, value) in grades.items()}, weights)

    def _part(self, row: Row, parts: dict[str, TaskSamples]) -> TaskSamples:
        subtask = str(row.fields[self._task.subtask]) if self._task.groups else ""
        if subtask not in parts:
            name = subtask_name(self._task, subtask)
            parts[subtask] = TaskSamples(name, subtask, self._path_of(name))
        return parts[subtask]

    async def _questions(self) -> AsyncGenerator[list[Row], None]:
        """Yield the rows (samples) of each question together."""
        samples = 1 + max(
            (self._output.split_sample_id(str(row["id"]))[1] for _, row in self._output.rows()), default=0
        )
        manifest = self._output.manifest
        source = RowSource(
            self._task.rows,
            id_field=None if manifest is None else manifest.source.get("id_field"),
            samples=samples if self._output.has_samples else None,
            sampler=sample_fields(self._task, has_numbers=self._output.has_samples),
        )
        rows: list[Row] = []
        async for row in source.pending_rows(IdTable()):
            if rows and row.index != rows[0].index:
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    def _sample(
        self, row: Row, texts: list[str], label: str, grades: RowGrades, weights: Mapping[str, float]
    ) -> dict[str, Any]:
        task = self._task
        target = row.fields[task.target]
        prompt = json.dumps(self._prompt.messages(row), ensure_ascii=False)
        metrics = {metric_name(task, name): _metric(*grade, weights.get(name)) for name, grade in grades.items()}
        read = texts[0] if label == NO_FILTER else str(next(iter(grades.values()))[0])
        return {
            "doc": row.fields,
            "target": str(target),
            "arguments": {"gen_args_0": {"arg_0": [prompt], "arg_1": self._settings}},
            "resps": [texts],
            "filtered_resps": [read],
            "filter": label,
            "metrics": [*metrics],
            "doc_hash": sha256_hex(json.dumps(row.fields, indent=2, ensure_ascii=False)),
            "prompt_hash": sha256_hex(prompt),
            "target_hash": sha256_hex(str(target)),
            **metrics,
        }

    def _response(self, offset: int | None) -> str:
        """Return the response at this offset; an empty text for a row without an answer, as in lm-eval."""
        return "" if offset is None else str(next(self._output.read_at([offset]))["response"])

    def _grades(self, text: str, row: Row) -> Mapping[str, tuple[Any, float]]:
        return self._grade(text, row.fields) if text else no_answer_grades(self._task.filters)

    def _score(self, rows: list[Row], texts: list[str], name: str) -> tuple[Any, float]:
        """Return (extracted answer, score) of a filter, or of a majority vote over the first samples."""
        task = self._task
        if name in task.filters:
            return self._grades(texts[0], rows[0])[name]
        (only_filter,) = task.filters
        pairs = list(zip(texts, rows, strict=False))[: task.votes[name]]
        grades = (self._grades(text, row)[only_filter] for text, row in pairs)
        winner = majority_sample([ScoredSample(n, str(answer), value) for n, (answer, value) in enumerate(grades)])
        return winner.answer, winner.score


def sha256_hex(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _metric(answer: Any, value: float, weight: float | None) -> Any:
    """Return the value of a metric: the score; or, of a filter with weights, whether each part is right."""
    if weight is None:
        return value
    return answer if isinstance(answer, list) else [False] * round(weight)
