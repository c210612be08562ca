"""The number of few-shot examples: the task's own, which its protocol sets, or the one that the user passes."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from manycall.data.prompt_error import PromptError
from manycall.errors import UsageError
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import check_messages
from manycall.option_flags import option
from manycall.records import Message, Messages


def with_num_fewshot(task: Task, num_fewshot: int | None) -> Task:
    """Return the task with the first `num_fewshot` of its few-shot examples; None: with all of them.

    Raises:
        UsageError: the task has fewer examples.
    """
    if num_fewshot is None:
        return task
    if not callable(task.fewshot):
        examples = check_messages(task.fewshot)
        available = _count(examples)
        _check_available(task.name, available, num_fewshot)
        return record_num_fewshot(replace(task, fewshot=_first(examples, num_fewshot)), num_fewshot, available)
    make_examples = task.fewshot

    def first_examples(index: int) -> Messages:
        examples = make_examples(index)
        try:
            _check_available(task.name, _count(examples), num_fewshot)
        except UsageError as error:
            raise PromptError(str(error)) from None
        return _first(examples, num_fewshot)

    name = getattr(make_examples, "__qualname__", "function")
    task = replace(task, fewshot=first_examples, identity={"fewshot": name, **task.identity})
    return record_num_fewshot(task, num_fewshot, task.num_fewshot)


def record_num_fewshot(task: Task, used: int, protocol: int | None) -> Task:
    """Return the task with its number of examples in the settings, if it is not that of the protocol."""
    identity = task.identity if used == protocol else {**task.identity, "num_fewshot": used}
    return replace(task, num_fewshot=protocol, identity=identity)


def protocol_num_fewshot(task: Task) -> int | None:
    """Return the number of few-shot examples in the protocol of a task; None if it is not known."""
    if task.num_fewshot is not None or callable(task.fewshot):
        return task.num_fewshot
    return _count(task.fewshot)


def check_num_fewshot(num_fewshot: int | None) -> None:
    """Check the option.

    Raises:
        UsageError: it is not a whole number of at least 0.
    """
    if num_fewshot is not None and (type(num_fewshot) is not int or num_fewshot < 0):
        raise UsageError(f"{option('num_fewshot')} must be a whole number of at least 0, not {num_fewshot!r}.")


def _check_available(name: str, available: int, wanted: int) -> None:
    if wanted > available:
        examples = f"{available} few-shot examples" if available else "no few-shot examples"
        raise UsageError(
            f"{name} has {examples}, so {option('num_fewshot')} must be at most {available}, not {wanted}."
        )


def _count(messages: Sequence[Message]) -> int:
    return len(_starts(messages))


def _first(messages: Sequence[Message], count: int) -> Messages:
    starts = _starts(messages)
    return list(messages[: starts[count]] if count < len(starts) else messages)


def _starts(messages: Sequence[Message]) -> list[int]:
    """Return the positions of the examples. Each example starts with a message of the user."""
    return [n for n, each in enumerate(messages) if isinstance(each, Mapping) and each.get("role") == "user"]
