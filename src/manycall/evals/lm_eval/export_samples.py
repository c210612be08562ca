"""Write the samples of an output in lm-eval's format: one line for each question and filter."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from hashlib import sha256
from typing import Any, NamedTuple, TextIO

from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.evals.no_answer import UnansweredRows, no_answer_grades
from manycall.evals.protocol_changes import sent_params
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


class WrittenSamples(NamedTuple):
    """Summary of the samples file.

    Attributes:
        digest: lm-eval's hash of all questions, prompts and targets.
        questions: number of questions of the task.
        scores: scores by filter, in the order of the questions.
    """

    digest: str
    questions: int
    scores: dict[str, list[float]]


class SamplesWriter:
    """Writes the samples of an output, one for each question and filter."""

    def __init__(self, output: OutputReader, task: Task) -> None:
        self._output, self._task, self._prompt, self._grade = output, task, TaskPrompt(task), grade_function(task)
        params = sent_params(output, task.params)
        temperature = params.get("temperature", 1.0)
        self._settings = {
            "until": params.get("stop", []),
            "do_sample": temperature != 0,
            "temperature": temperature,
            "max_gen_toks": params.get("max_tokens", params.get("max_completion_tokens")),
        }

    async def write(self, file: TextIO) -> WrittenSamples:
        """Write the samples to a file, grouped by filter as in lm-eval."""
        unanswered = UnansweredRows(self._output, "wrong")
        offsets: dict[str, int | None] = dict.fromkeys(name for name, _ in unanswered.items())
        offsets |= {str(row.get("id")): offset for offset, row in self._output.rows()}
        digest, question_count = sha256(), 0
        scores: dict[str, list[float]] = {}
        for name in [*self._task.filters, *self._task.votes]:
            needed, question_count, scores[name] = self._task.votes.get(name, 1), 0, list[float]()
            async with aclosing(self._questions()) as questions:
                async for rows in questions:
                    question_count += 1
                    if len(rows) < needed or any(row.id not in offsets for row in rows[:needed]):
                        continue
                    texts = [self._response(offsets[row.id]) for row in rows if row.id in offsets]
                    line = self._sample(rows, texts, name)
                    digest.update((line["doc_hash"] + line["prompt_hash"] + line["target_hash"]).encode())
                    scores[name].append(line[metric_name(self._task, name)])
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if offsets and not any(scores.values()):
            raise UsageError(
                f"{self._output.path} contains no question of {self._task.name}. "
                f"Pass the input file with {option('data')}."
            )
        answered = {name: values for name, values in scores.items() if values}
        return WrittenSamples(digest.hexdigest(), question_count, answered)

    async def _questions(self) -> AsyncGenerator[list[Row], None]:
        """Yield the rows (samples) of each question together."""
        samples = 1 + max(
            (self._output.split_sample_id(str(row["id"]))[1] for _, row in self._output.rows()), default=0
        )
        source = RowSource(
            self._task.rows,
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

    def _sample(self, rows: list[Row], texts: list[str], name: str) -> dict[str, Any]:
        task, row = self._task, rows[0]
        target = row.fields[task.target]
        prompt = json.dumps(self._prompt.messages(row), ensure_ascii=False)
        answer, value = self._score(rows, texts, name)
        return {
            "doc_id": row.index,
            "doc": row.fields,
            "target": str(target),
            "arguments": {"gen_args_0": {"arg_0": [prompt], "arg_1": self._settings}},
            "resps": [texts],
            "filtered_resps": [str(answer)],
            "filter": name,
            "metrics": [metric_name(task, name)],
            "doc_hash": sha256_hex(json.dumps(row.fields, indent=2, ensure_ascii=False)),
            "prompt_hash": sha256_hex(prompt),
            "target_hash": sha256_hex(str(target)),
            metric_name(task, name): value,
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


def metric_name(task: Task, filter_name: str) -> str:
    """Return lm-eval's name of the metric of a filter."""
    return BENCHMARKS[task.name].metric or filter_name if task.name in BENCHMARKS else "score"
