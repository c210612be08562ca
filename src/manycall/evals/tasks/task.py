"""Task, the value that describes a benchmark, and what it consists of: filters and groups of subtasks."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from manycall.data.prompt_template import PromptLike
from manycall.data.row_input import RowsLike
from manycall.errors import UsageError
from manycall.records import BodyFormat, Completion, Fields, Message, Messages
from manycall.render import as_text

Extractor = Callable[[str], Any]
"""Returns the answer in a response."""
AnswerScorer = Callable[[Any, Any], float]
"""Returns the score, from 0 to 1, of (extracted answer, target)."""


class Filter(msgspec.Struct, frozen=True):
    """A filter that needs the row, has another scorer than the task, or gives rows a weight.

    Attributes:
        grade: function of (response, fields of the row) that returns (extracted answer, score from 0 to 1).
        weight: function of the fields of a row that returns its weight w; the score of the filter is then Σwx / Σw and
            has no standard error. None: all rows count the same.
    """

    grade: Callable[[str, Fields], tuple[Any, float]]
    weight: Callable[[Fields], float] | None = None


def row_filter(read: Callable[[str, Fields], Any], scorer: AnswerScorer, target: str = "answer") -> Filter:
    """Return a filter whose extractor sees the row.

    Args:
        read: function of (response, fields of the row) that returns the answer.
        scorer: function of (extracted answer, target) that returns the score.
        target: name of the field with the right answer.
    """

    def grade(response: str, fields: Fields) -> tuple[Any, float]:
        answer = read(response, fields)
        return answer, scorer(answer, fields[target])

    return Filter(grade)


class SubtaskGroup(msgspec.Struct, frozen=True):
    """Subtasks with a common score, for example the languages of MGSM with Latin script.

    Attributes:
        name: name of the group in results.
        subtasks: values of the field `Task.subtask`; None: all.
        weight: "rows": each row counts the same (lm-eval's `weight_by_size: true`). "subtasks": each subtask counts the
            same.
    """

    name: str
    subtasks: frozenset[str] | None = None
    weight: Literal["rows", "subtasks"] = "rows"


class Task(msgspec.Struct, frozen=True):
    """A benchmark: its questions, the extraction of answers and their scoring.

    >>> task = manycall.Task(
    ...     rows=[{"question": "Is 3 odd?", "answer": "yes"}],
    ...     prompt="{{ question }}",
    ...     extract=lambda text: text.strip().lower(),
    ...     scorer=lambda answer, target: answer == target,
    ... )
    >>> manycall.evaluate(task, base_url="sim", model="any", out="odd.jsonl", progress=False).scored_rows
    1

    Attributes:
        rows: the questions: the path of a file, or mappings.
        prompt: the user message: a Jinja template over a row's fields, the path of a template, or a function of the
            fields.
        extract: function that returns the answer in a response, or several such functions by name. Each of them is a
            filter with its own score. A `Filter` instead of a function also gets the row.
        scorer: function of (extracted answer, target) that returns a score from 0 to 1.
        target: name of the field with the right answer. `scorer` gets it as text, written as in JSON (true, 0.5),
            unless it is a list, an object or null (None).
        name: name of the task in results and reports.
        system: template of a system message.
        fewshot: example messages between the system message and the question: a fixed list, or a function of the
            row's index.
        num_fewshot: number of few-shot examples in the protocol, if it is known and `fewshot` is a function; None: as
            many as `fewshot` has.
        params: request parameters of every call.
        body_format: JSON format of the request bodies (see `Request`).
        samples: number of samples of each question if the user does not set one; None: one, without a sample number.
        vary: function of (fields of a row, number of the sample from 0) that returns the fields of that sample, for
            example with its choices in another order; None: all samples of a question are equal.
        votes: number of samples k by name. Each entry adds a score of the majority answer among the first k samples.
        answer_text: function of (completion, fields of the row) that returns the text to score and to write, for
            example the letter with the highest probability; None: the text of the completion.
        subtask: name of the field with the subtask (subject, language) of a row, for which scores are also reported;
            "": there are no subtasks.
        groups: groups of subtasks with a score of their own.
        is_fast: `extract` and `scorer` take microseconds. Other functions run in a thread, so that they do not delay
            calls.
        origin: FILE.py:task (set by the command line), regex:PATTERN, from which a separate process can load
            the task. Answers are then graded in that process, so that a scorer that hangs can be killed. "":
            answers are graded in this process.
        scoring_timeout: seconds that grading one answer may take in a separate process; after that the row has failed.
        identity: settings in addition to the name, the prompt and the parameters that must be equal in comparable runs.
        answer_key: value for the `answer_key` setting of the simulated endpoint, from which it knows the right answers.
        rubric: name of a built-in rubric (`judging.built_in_rubrics`) by which a judge grades the answers, if the
            scores of the task are not those of the benchmark; "": none.
        planted: function of the fields of a row that returns (a right response, a wrong response), from which the
            simulated endpoint knows them if there is no `answer_key`.
        loader: function that adds the rows and few-shot examples, from local files if they are given.
    """

    rows: RowsLike
    prompt: PromptLike
    extract: Extractor | Filter | Mapping[str, Extractor | Filter]
    scorer: AnswerScorer
    target: str = "answer"
    name: str = "task"
    system: str | None = None
    fewshot: Sequence[Message] | Callable[[int], Messages] = ()
    num_fewshot: int | None = None
    params: dict[str, Any] = {}
    body_format: BodyFormat = "compact"
    samples: int | None = None
    vary: Callable[[Fields, int], Fields] | None = None
    votes: Mapping[str, int] = {}
    answer_text: Callable[[Completion, Fields], str] | None = None
    subtask: str = ""
    groups: Sequence[SubtaskGroup] = ()
    is_fast: bool = False
    origin: str = ""
    scoring_timeout: float = 10.0
    identity: dict[str, Any] = {}
    answer_key: str = ""
    rubric: str = ""
    planted: Callable[[Fields], tuple[str, str]] | None = None
    loader: "TaskLoader | None" = None

    def __post_init__(self) -> None:
        _require_function("scorer", self.scorer)
        for each in self.filters.values():
            _require_function("extract", each.grade if isinstance(each, Filter) else each)

    @property
    def filters(self) -> Mapping[str, Extractor | Filter]:
        """Return the filters by name."""
        return self.extract if isinstance(self.extract, Mapping) else {"score": self.extract}

    def score_response(self, response: str, fields: Fields) -> dict[str, tuple[Any, float]]:
        """Return (extracted answer, score) of one response to a row with these fields, by filter name."""
        grades: dict[str, tuple[Any, float]] = {}
        for name, each in self.filters.items():
            if isinstance(each, Filter):
                answer, value = each.grade(response, fields)
                grades[name] = answer, _checked_score(value)
            else:
                answer = each(response)
                grades[name] = answer, self.compare(answer, fields.get(self.target))
        return grades

    def compare(self, answer: Any, target: Any) -> float:
        """Return the score of an extracted answer.

        Raises:
            ValueError: the scorer did not return a number from 0 to 1.
        """
        return _checked_score(
            self.scorer(answer, target if isinstance(target, list | dict | None) else as_text(target))
        )

    def weights(self, fields: Fields) -> dict[str, float]:
        """Return the weights of a row by name of the filters that have weights."""
        filters = ((name, each.weight) for name, each in self.filters.items() if isinstance(each, Filter))
        return {name: weight(fields) for name, weight in filters if weight is not None}


def _require_function(name: str, value: object) -> None:
    """Check that an argument of a task is a function that returns its result at once.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, str):
        hint = f" A scorer is used by its name with a file of rows: manycall.evaluate('FILE.jsonl', scorer={value!r})."
        raise UsageError(f"Task({name}={value!r:.100}): expected a function.{hint}")
    if not callable(value):
        raise UsageError(f"Task({name}=...): expected a function, got {type(value).__name__}.")
    if inspect.iscoroutinefunction(value):
        raise UsageError(f"Task({name}=...): the function is async. Define it with def instead of async def.")


def _checked_score(result: Any) -> float:
    """Return a score as a number.

    Raises:
        ValueError: it is not a number from 0 to 1.
    """
    try:
        value = float(result)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"expected a score from 0 to 1, got {result!r:.100}")
    return value


class TaskLoader(Protocol):
    """Returns a task with its rows and `num_fewshot` few-shot examples, from local files if they are given."""

    def __call__(
        self,
        task: Task,
        data: str | Path | None = None,
        fewshot_data: str | Path | None = None,
        num_fewshot: int | None = None,
    ) -> Task: ...
