"""Images of training examples: a column `images`, and the places in the messages where they belong.

TRL expects a part {"type": "image"} for each image, in messages whose contents are lists of parts. LLaMA-Factory
expects `<image>` in the text (hiyouga/LLaMA-Factory: data/README.md).
"""

import os
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from manycall.data.content_parts import is_image_part
from manycall.data.images import base64_of
from manycall.dataset.training_example import TrainingExample, UnsuitableRow
from manycall.option_flags import option
from manycall.records import Messages

IMAGE_PLACEHOLDER = "<image>"
"""The place of an image in a text."""


class TrainingImages(NamedTuple):
    """How the images of a dataset are written.

    Attributes:
        folder: relative paths in the rows begin here.
        out: the new file. Paths of images are written relative to its folder.
        as_placeholders: the format has `<image>` in the text, not parts.
        for_llama_factory: refuse images that LLaMA-Factory cannot load.
    """

    folder: Path
    out: Path
    as_placeholders: bool
    for_llama_factory: bool

    def take_from(self, example: TrainingExample) -> tuple[TrainingExample, list[Any]]:
        """Return the example with places for its images, and the images in their order; [] if it has none.

        Raises:
            UnsuitableRow: the format cannot represent an image.
        """
        turns = [example.prompt, example.answer, example.rejected or []]
        images = [image for messages in turns for image in _images(messages)]
        if not images:
            return example, []
        if self.for_llama_factory and not self.as_placeholders:
            raise UnsuitableRow(
                f"has images, for which LLaMA-Factory expects {IMAGE_PLACEHOLDER} in the text. Use "
                f"{option('format', 'sharegpt')}."
            )
        place = _with_placeholders if self.as_placeholders else _with_parts
        placed = [place(messages) for messages in turns]
        rejected = None if example.rejected is None else placed[2]
        example = msgspec.structs.replace(example, prompt=placed[0], answer=placed[1], rejected=rejected)
        return example, list(map(self._value, images))

    def _value(self, image: Any) -> Any:
        """Return an image as it is written: a path, a URL, or the object with bytes of the hub's Image feature."""
        if isinstance(image, dict) and not image.get("bytes"):
            image = image.get("path")
        if isinstance(image, dict):
            return self._with_bytes(image)
        if not isinstance(image, str) or not image:
            raise UnsuitableRow("has an image that is neither a path nor an object with bytes.")
        if image.startswith(("http://", "https://")):
            if self.for_llama_factory:
                raise UnsuitableRow("has the URL of an image, which LLaMA-Factory does not load. Download the images.")
            return image
        if (data := base64_of(image)) is not None:
            return self._with_bytes({"bytes": data})
        return os.path.relpath(self.folder / image.removeprefix("file://"), self.out.parent)

    def _with_bytes(self, image: dict[str, Any]) -> dict[str, Any]:
        if self.out.suffix not in (".parquet", ".arrow"):
            raise UnsuitableRow(f"has the bytes of an image, which {self.out.suffix} cannot hold. Write .parquet.")
        try:
            return {"bytes": b64decode(image["bytes"], validate=True), "path": image.get("path")}
        except (ValueError, TypeError):
            raise UnsuitableRow("has an image whose bytes are not base64.") from None


def _images(messages: Messages) -> list[Any]:
    values = [part.get("image") for turn in messages for part in _parts(turn) if is_image_part(part)]
    return [image for value in values for image in (value if isinstance(value, list) else [value])]


def _parts(turn: dict[str, Any]) -> list[Any]:
    content = turn.get("content")
    return content if isinstance(content, list) else []


def _number(part: dict[str, Any]) -> int:
    """Return the number of images in a part."""
    value = part.get("image")
    return len(value) if isinstance(value, list) else 1


def _changed(messages: Messages, change: Callable[[list[Any]], Any]) -> Messages:
    return [
        {**turn, "content": change(_parts(turn) or [{"type": "text", "text": turn.get("content") or ""}])}
        for turn in messages
    ]


def _with_parts(messages: Messages) -> Messages:
    """Return messages whose contents are all lists of parts, because a column has one type."""

    def change(parts: list[Any]) -> list[Any]:
        return [
            each for part in parts for each in ([{"type": "image"}] * _number(part) if is_image_part(part) else [part])
        ]

    return _changed(messages, change)


def _with_placeholders(messages: Messages) -> Messages:
    def change(parts: list[Any]) -> str:
        return "".join(IMAGE_PLACEHOLDER * _number(part) if is_image_part(part) else _text(part) for part in parts)

    return _changed(messages, change)


def _text(part: dict[str, Any]) -> str:
    text = part.get("text")
    if part.get("type") != "text" or not isinstance(text, str):
        raise UnsuitableRow(f"has a part of type {part.get('type')!r}. Use {option('format', 'messages')}.")
    if IMAGE_PLACEHOLDER in text:
        raise UnsuitableRow(f"has {IMAGE_PLACEHOLDER} in a text, which would count as an image. Use another format.")
    return text
