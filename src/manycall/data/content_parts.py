"""The parts of a message: texts and images, in a prompt's source and in the messages that it becomes."""

from collections.abc import Iterator
from typing import Any

from manycall.records import Message, Messages


def messages_as_text(source: str | Messages) -> str:
    """Return the source of a prompt as one text, for display."""
    if isinstance(source, str):
        return source
    return "\n".join(f"{turn['role']}: {''.join(map(_part_as_text, _parts(turn)))}" for turn in source)


def image_part(value: Any) -> Message:
    """Return the part of a message for the images in a value of a row, before `load_images`."""
    return {"type": "image", "image": value}


def is_image_part(part: Any) -> bool:
    """Return whether a part of a message is for images that are not loaded yet."""
    return isinstance(part, dict) and part.get("type") == "image" and ("image" in part or "field" in part)


def parts_in(source: str | Messages) -> Iterator[Message]:
    """Yield the parts of all messages of a prompt's source."""
    return (part for turn in ([] if isinstance(source, str) else source) for part in _parts(turn))


def _parts(turn: Message) -> list[Message]:
    content = turn.get("content")
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _part_as_text(part: Message) -> str:
    if is_image_part(part):
        return f"[image: {part.get('field') or part.get('image')}]"
    return f"[image: {part['image_url']['url']}]" if part["type"] == "image_url" else str(part["text"])


def templates_in(source: str | Messages) -> Iterator[str]:
    """Yield each template of a prompt."""
    if isinstance(source, str):
        yield source
    for part in parts_in(source):
        if "field" not in part:
            yield part["image_url"]["url"] if part["type"] == "image_url" else part[part["type"]]


def image_fields_in(source: str | Messages) -> Iterator[str]:
    """Yield the fields that image parts name."""
    return (part["field"] for part in parts_in(source) if "field" in part)
