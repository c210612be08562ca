"""Training formats: messages, ShareGPT, Alpaca, TRL's prompt-completion, and preference pairs in three forms."""

from collections.abc import Callable
from typing import Any, NamedTuple

from manycall.dataset.training_example import TrainingExample, UnsuitableRow
from manycall.option_flags import option
from manycall.records import Fields, Messages
from manycall.render import as_text

SHAREGPT_NAMES = {
    "system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation",
}  # fmt: skip
"""Role -> ShareGPT's name for it, including those added by derived formats (LLaMA-Factory: data/README.md)."""


def _as_messages(example: TrainingExample) -> Fields:
    return {"messages": [*example.prompt, *example.answer], **_tools(example)}


def _as_prompt_completion(example: TrainingExample) -> Fields:
    """Convert to TRL's conversational form; to its standard form, two texts, if the prompt was sent as plain text."""
    if example.is_text:
        return {"prompt": example.prompt[-1]["content"], "completion": _text(example.answer[-1])}
    return {"prompt": example.prompt, "completion": example.answer, **_tools(example)}


def _as_sharegpt(example: TrainingExample) -> Fields:
    return {"conversations": _sharegpt_turns([*example.prompt, *example.answer]), **_tools_as_text(example)}


def _as_alpaca(example: TrainingExample) -> Fields:
    question, context = _question(example)
    return {**question, "output": _single(example.answer), **context}


def _as_dpo(example: TrainingExample) -> Fields:
    """Convert to TRL's conversational preference format with an explicit prompt."""
    return {"prompt": example.prompt, "chosen": example.answer, "rejected": example.rejected, **_tools(example)}


def _as_dpo_sharegpt(example: TrainingExample) -> Fields:
    (chosen,), (rejected,) = (_sharegpt_turns([_only(turns)]) for turns in (example.answer, example.rejected or []))
    pair = {"chosen": chosen, "rejected": rejected}
    return {"conversations": _sharegpt_turns(example.prompt), **pair, **_tools_as_text(example)}


def _as_dpo_alpaca(example: TrainingExample) -> Fields:
    question, context = _question(example)
    return {**question, "chosen": _single(example.answer), "rejected": _single(example.rejected or []), **context}


def _question(example: TrainingExample) -> tuple[Fields, Fields]:
    """Return the last question as `instruction` and `input`, and what comes before it as `system` and `history`."""
    system = [turn for turn in example.prompt if turn["role"] in {"system", "developer"}]
    turns = [turn for turn in example.prompt if turn["role"] not in {"system", "developer"}]
    roles = [turn["role"] for turn in turns]
    if len(system) > 1 or len(roles) % 2 == 0 or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise UnsuitableRow(
            "is not a dialogue of questions and answers with at most one system prompt, as Alpaca requires. "
            f"Use {option('format', 'messages')}."
        )
    if example.tools:
        raise UnsuitableRow(f"has tools, for which Alpaca has no field. Use {option('format', 'messages')}.")
    texts = [_text(turn) for turn in turns]
    instruction, given = example.instruction or (texts[-1], "")
    history = [list(pair) for pair in zip(texts[:-1:2], texts[1::2], strict=True)]
    context = {"system": _text(system[0])} if system else {}
    return {"instruction": instruction, "input": given}, {**context, **({"history": history} if history else {})}


def _sharegpt_turns(messages: Messages) -> Messages:
    return [{"from": SHAREGPT_NAMES.get(turn["role"], turn["role"]), "value": _text(turn)} for turn in messages]


def _tools(example: TrainingExample) -> Fields:
    return {"tools": example.tools} if example.tools else {}


def _tools_as_text(example: TrainingExample) -> Fields:
    """Return the tools as JSON text, which LLaMA-Factory reads."""
    return {"tools": as_text(example.tools)} if example.tools else {}


def _only(turns: Messages) -> dict[str, Any]:
    if len(turns) != 1:
        raise UnsuitableRow(f"has an answer of several turns. Use {option('format', 'messages')}.")
    return turns[0]


def _single(turns: Messages) -> str:
    return _text(_only(turns))


def _text(turn: dict[str, Any]) -> str:
    """Return the text of a message that has nothing else.

    Raises:
        UnsuitableRow: The message has several parts, tool calls, a name, or thinking text in a separate field.
    """
    content = turn.get("content")
    if not isinstance(content, str):
        raise UnsuitableRow(f"has a message that is not a single text. Use {option('format', 'messages')}.")
    if turn.get("reasoning_content"):
        raise UnsuitableRow(
            f"has thinking text, for which this format has no field. Use {option('reasoning', 'inline')}."
        )
    others = [name for name, value in turn.items() if name not in {"role", "content"} and value]
    if others:
        raise UnsuitableRow(f"has a message with {', '.join(others)}. Use {option('format', 'messages')}.")
    return content


class TrainingFormat(NamedTuple):
    """One format.

    Attributes:
        convert: Function of the example. Raises UnsuitableRow for an example that the format cannot represent.
        is_pair: The format contains preference pairs.
        llama_factory: The entry of `dataset_info.json` without the file; None if LLaMA-Factory cannot read the format.
        prompt_columns: Columns that hold the prompt.
        has_lists: The format has lists of messages, which a CSV file cannot hold.
        has_text_form: The format has a form for a prompt that was sent as plain text.
        has_image_placeholders: An image is `<image>` in the text, and not a part of a message.
    """

    convert: Callable[[TrainingExample], Fields]
    is_pair: bool = False
    llama_factory: Fields | None = None
    prompt_columns: tuple[str, ...] = ()
    has_lists: bool = True
    has_text_form: bool = False
    has_image_placeholders: bool = False


_OPENAI_TAGS = {
    "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
    "system_tag": "system", "observation_tag": "tool", "function_tag": "function_call",
}  # fmt: skip
IMAGES_COLUMN = "images"
_IMAGES = {"images": IMAGES_COLUMN}
_PAIR_COLUMNS = {"chosen": "chosen", "rejected": "rejected"}
_QUESTION_COLUMNS = {"prompt": "instruction", "query": "input", "system": "system", "history": "history"}
_QUESTION = ("instruction", "input", "system", "history")

TRAINING_FORMATS: dict[str, TrainingFormat] = {
    "messages": TrainingFormat(
        _as_messages,
        llama_factory={"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _OPENAI_TAGS},
    ),
    "prompt-completion": TrainingFormat(_as_prompt_completion, prompt_columns=("prompt",), has_text_form=True),
    "sharegpt": TrainingFormat(
        _as_sharegpt,
        llama_factory={"formatting": "sharegpt", "columns": {"messages": "conversations", "tools": "tools", **_IMAGES}},
        has_image_placeholders=True,
    ),
    "alpaca": TrainingFormat(
        _as_alpaca,
        llama_factory={"columns": {**_QUESTION_COLUMNS, "response": "output", **_IMAGES}},
        prompt_columns=_QUESTION,
        has_lists=False,
        has_image_placeholders=True,
    ),
    "dpo": TrainingFormat(_as_dpo, is_pair=True, prompt_columns=("prompt",)),
    "dpo-sharegpt": TrainingFormat(
        _as_dpo_sharegpt,
        is_pair=True,
        llama_factory={
            "formatting": "sharegpt",
            "ranking": True,
            "columns": {"messages": "conversations", "tools": "tools", **_PAIR_COLUMNS, **_IMAGES},
        },
        prompt_columns=("conversations",),
        has_image_placeholders=True,
    ),
    "dpo-alpaca": TrainingFormat(
        _as_dpo_alpaca,
        is_pair=True,
        llama_factory={"ranking": True, "columns": {**_QUESTION_COLUMNS, **_PAIR_COLUMNS, **_IMAGES}},
        prompt_columns=_QUESTION,
        has_lists=False,
        has_image_placeholders=True,
    ),
}
