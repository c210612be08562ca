"""The messages of a row of a task: system message, few-shot examples, question."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from manycall.data.images import load_images
from manycall.data.prompt_template import PromptTemplate
from manycall.errors import UsageError
from manycall.evals.tasks.task import Task
from manycall.records import Message, Messages, Row


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

    def messages(self, row: Row) -> Messages:
        """Return the messages for a row.

        Raises:
            PromptError: a template uses a field that the row does not have, or a prompt function failed.
        """
        system = [] if self._system is None else self._system.messages(row)
        return [*({**turn, "role": "system"} for turn in system), *self._fewshot(row.index), *self._turn.messages(row)]

    def load(self, row: Row, folder: Path) -> Messages:
        """Return the messages for a row with their images.

        Args:
            folder: paths of images that are not absolute begin here.

        Raises:
            PromptError: as `messages`; or an image cannot be loaded.
        """
        messages = self.messages(row)
        return load_images(messages, folder) if self._turn.may_have_images else messages


def check_messages(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the few-shot messages.

    Raises:
        UsageError: one of them is not a message.
    """
    for message in messages:
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise UsageError(f"Task.fewshot: expected messages with role and content, got {message!r:.100}.")
    return messages
