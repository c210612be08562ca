"""Conversations in a field of a row: messages in OpenAI's form, or turns in ShareGPT's form."""

from typing import Any

from manycall.records import Messages

ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system",
    "observation": "tool", "tool": "tool",
}  # fmt: skip
"""ShareGPT's name of a role -> the role."""
CHAT_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
SYSTEM_ROLES = ("system", "developer")


def is_conversation(value: Any) -> bool:
    """Return whether a value is a list of messages, in OpenAI's or in ShareGPT's form."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and ("role" in turn or {"from", "value"} <= turn.keys()) for turn in value)
    )


def as_messages(turns: list[dict[str, Any]]) -> Messages:
    """Return turns in OpenAI's form.

    Raises:
        ValueError: a turn has a role that has no equivalent. The message is a predicate: "has a turn from 'x'."
    """
    return [turn if "role" in turn else {"role": _role(turn["from"]), "content": turn["value"]} for turn in turns]


def _role(name: Any) -> str:
    if not isinstance(name, str) or name not in ROLES:
        raise ValueError(f"has a turn from {name!r:.100}. Roles that can be converted: {', '.join(ROLES)}.")
    return ROLES[name]


def messages_to_answer(value: Any) -> Messages:
    """Return the messages of a conversation that a model can answer.

    Raises:
        ValueError: it is not a conversation, or it already ends with an answer. The message is a predicate.
    """
    if not is_conversation(value):
        raise ValueError(
            'is not a list of messages. Expected [{"role": "user", "content": "..."}] or '
            '[{"from": "human", "value": "..."}].'
        )
    messages = as_messages(value)
    for number, message in enumerate(messages, 1):
        if problem := _problem(message):
            raise ValueError(f"cannot be sent: message {number} {problem}.")
    if messages[-1]["role"] == "assistant":
        raise ValueError("ends with a message of the assistant, so there is nothing to answer. Remove that message.")
    return messages


def _problem(message: dict[str, Any]) -> str:
    """Return what is wrong with a message; "" if nothing is."""
    role, content = message["role"], message.get("content")
    if role not in CHAT_ROLES:
        return f"has the role {role!r:.100}. Roles: {', '.join(CHAT_ROLES)}"
    if isinstance(content, str) or (content is None and (message.get("tool_calls") or message.get("function_call"))):
        return ""
    if not isinstance(content, list) or not content:
        return "has no content, which is a text or a list of parts"
    if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content):
        return "has a part without a type"
    if any(part["type"] == "image" for part in content):
        return 'has a part of type "image". Use "image_url", or name a field with the images'
    return ""
