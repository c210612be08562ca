"""Task, the value that describes a benchmark, and the prompt of a task."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from manycall.data.prompt_template import PromptLike, PromptTemplate
from manycall.data.row_input import RowsLike
from manycall.errors import UsageError
from manycall.records import BodyFormat, Message, Messages, Row
from manycall.render import as_text

Extractor = Callable[[str], Any]
"""Returns the answer in a response."""


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
            filter with its own score.
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
        votes: number of samples k by name. Each entry adds a score of the majority answer among the first k samples.
        is_fast: `extract` and `scorer` take microseconds. Other functions run in a thread, so that they do not delay
            calls.
        origin: FILE.py:task (set by the command line) or regex:PATTERN, from which a separate process can load the
            task. Answers are then graded in that process, so that a scorer that hangs can be killed. "": answers are
            graded in this process.
        scoring_timeout: seconds that grading one answer may take in a separate process; after that the row has failed.
        identity: settings in addition to the name, the prompt and the parameters that must be equal in comparable runs.
        answer_key: value for the `answer_key` setting of the simulated endpoint, from which it knows the right answers.
        loader: function that adds the rows and few-shot examples, from local files if they are given.
    """

    rows: RowsLike
    prompt: PromptLike
    extract: Extractor | Mapping[str, Extractor]
    scorer: Callable[[Any, Any], float]
    target: str = "answer"
    name: str = "task"
    system: str | None = None
    fewshot: Sequence[Message] | Callable[[int], Messages] = ()
    num_fewshot: int | None = None
    params: dict[str, Any] = {}
    body_format: BodyFormat = "compact"
    samples: int | None = None
    votes: Mapping[str, int] = {}
    is_fast: bool = False
    origin: str = ""
    scoring_timeout: float = 10.0
    identity: dict[str, Any] = {}
    answer_key: str = ""
    loader: "TaskLoader | None" = None

    @property
    def filters(self) -> Mapping[str, Extractor]:
        """Return the extractors by filter name."""
        return {"score": self.extract} if callable(self.extract) else self.extract

    def score_response(self, response: str, target: Any) -> dict[str, tuple[Any, float]]:
        """Return (extracted answer, score) of one response by filter name."""
        answers = {name: extract(response) for name, extract in self.filters.items()}
        return {name: (answer, self.compare(answer, target)) for name, answer in answers.items()}

    def compare(self, answer: Any, target: Any) -> float:
        """Return the score of an extracted answer.

        Raises:
            ValueError: the scorer did not return a number from 0 to 1.
        """
        result = self.scorer(answer, target if isinstance(target, list | dict | None) else as_text(target))
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


class TaskPrompt:
    """Builds the messages of a row: system message, few-shot examples, question.

    Attributes:
        identity: settings that must be equal in two comparable runs: prompt, system message, few-shot examples and
            the task's own `identity`.

    Raises:
        UsageError: a few-shot example is not a message.
        PromptError: a template is not valid.
    """

    def __init__(self, task: Task) -> None:
        self._turn = PromptTemplate(task.prompt)
        self._system = None if task.system is None else PromptTemplate(task.system)
        fewshot = task.fewshot if callable(task.fewshot) else check_messages(task.fewshot)
        self._fewshot = fewshot if callable(fewshot) else lambda index: list(fewshot)
        settings = {
            "prompt": self._turn.source,
            "system": self._system and self._system.text,
            "fewshot": getattr(fewshot, "__qualname__", "function") if callable(fewshot) else list(fewshot),
        }
        self.identity = {name: value for name, value in settings.items() if value} | task.identity

    @property
    def may_have_images(self) -> bool:
        """Whether the question may have image parts, which `load_images` must replace."""
        return self._turn.may_have_images

    def messages(self, row: Row) -> Messages:
        """Return the messages for a row.

        Raises:
            PromptError: a template uses a field that the row does not have, or a prompt function failed.
        """
        system = [] if self._system is None else self._system.messages(row)
        return [*({**turn, "role": "system"} for turn in system), *self._fewshot(row.index), *self._turn.messages(row)]


def check_messages(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the few-shot messages.

    Raises:
        UsageError: one of them is not a message.
    """
    for message in messages:
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise UsageError(f"Task.fewshot: expected messages with role and content, got {message!r:.100}.")
    return messages
