"""Images of a row as parts of a message: from a path, a URL, a data URL, or bytes.

A rendered message contains a part {"type": "image", "image": value}, where the value is what the row has: a text, an
object with `bytes` or `path` (the hub's Image feature), or a list of these. `load_images` replaces it by the part that
the chat API expects. A URL is passed on: the provider loads it.

Files are read in the event loop, when the call can be sent. With a thread, the row would wait before it takes a permit,
the scheduler would start the next one, and hundreds of images would be in memory (measured with 40 images of 4 MB and
two calls in flight: a peak of 350 MB instead of 84 MB).
"""

import binascii
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from manycall.data.content_parts import is_image_part
from manycall.data.prompt_error import PromptError
from manycall.records import Message, Messages

MAX_IMAGE_BYTES = 20 << 20
"""Size of the largest image in a request. The memory of a call is about four times as large (measured)."""
MAX_SHOWN_DATA = 40
"""Characters of a data URL that a dry run shows."""
_SIGNATURE_BYTES = 12
_SIGNATURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
}
"""Media type -> the first bytes of such a file. WebP has its own after the length: RIFF....WEBP."""
_BASE64_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGODdh", "R0lGODlh", "UklGR")
"""How the base64 of an image begins, for each signature."""
MIN_BASE64_CHARACTERS = 40
"""A shorter text that begins like base64 is a path. The smallest GIF has 26 bytes, the smallest others more."""


def put_images_first(messages: Messages, parts: list[Message]) -> Messages:
    """Return the messages with these parts before the text of the last user message.

    Raises:
        PromptError: there is no user message.
    """
    at = next((n for n in reversed(range(len(messages))) if messages[n].get("role") == "user"), None)
    if at is None:
        raise PromptError("The prompt has no user message, to which the images belong.")
    content = messages[at].get("content")
    others = content if isinstance(content, list) else [{"type": "text", "text": content}]
    changed = list(messages)
    changed[at] = {**messages[at], "content": [*parts, *others]}
    return changed


def images_in(value: Any, name: str) -> list[Any]:
    """Return the images in a value of a row, each a text or an object.

    Args:
        name: what the value is, for the message.

    Raises:
        PromptError: there is no image, or a value of another kind.
    """
    images = value if isinstance(value, list) else [value]
    for image in images:
        if not isinstance(image, str | dict | bytes) and image is not None:
            raise PromptError(
                f"{name} holds {type(image).__name__}, not an image. Expected a path, a URL, bytes, or an object with "
                "bytes or a path."
            )
    if not images or not all(images):
        raise PromptError(f"{name} is empty. A row without an image cannot be sent.")
    return images


def load_images(messages: Messages, folder: Path) -> Messages:
    """Return the messages with every image in the form that the chat API expects.

    Args:
        folder: relative paths begin here.

    Raises:
        PromptError: a file is missing, too large or not an image. The message names it.
    """
    return [
        {**each, "content": list(_loaded(each["content"], folder))} if _has_images(each) else each for each in messages
    ]


def _has_images(message: Message) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(map(is_image_part, content))


def _loaded(parts: Iterable[Any], folder: Path) -> Iterator[Any]:
    for part in parts:
        if not is_image_part(part):
            yield part
            continue
        others = {name: value for name, value in part.items() if name not in ("type", "image")}
        for image in images_in(part.get("image"), "The image"):
            yield {"type": "image_url", "image_url": {"url": image_as_url(image, folder), **others}}


def image_as_url(image: Any, folder: Path) -> str:
    """Return the URL or the data URL of an image.

    Raises:
        PromptError: the image cannot be read, is too large, or has none of the four types.
    """
    if isinstance(image, dict):
        if data := image.get("bytes"):
            return _inline(_decoded(data), f"The image {image.get('path') or 'in the row'}")
        image = image.get("path")
        if not isinstance(image, str) or not image:
            raise PromptError("The image has neither bytes nor a path.")
    if isinstance(image, bytes):
        return _inline(image, "The image")
    if len(image) > 2 * MAX_IMAGE_BYTES:
        raise _too_large("The image in the row", len(image) * 3 // 4)
    if image.startswith(("http://", "https://", "data:image/")):
        return str(image)
    if (data := base64_of(image)) is not None:
        return _inline(_decoded(data), "The image in the row")
    path = folder / image.removeprefix("file://")
    return _inline(_read(path), f"The image {path}")


def base64_of(image: str) -> str | None:
    """Return the base64 text of an image that is a data URL or base64; None if it is a path or another URL."""
    if image.startswith("data:image/"):
        return image.partition(",")[2]
    is_base64 = len(image) >= MIN_BASE64_CHARACTERS and image.startswith(_BASE64_STARTS) and "." not in image
    return image if is_base64 else None


def _decoded(data: Any) -> bytes:
    """Return bytes of a row, which are base64 in its JSON.

    Raises:
        PromptError: they are not base64.
    """
    try:
        return b64decode(data, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise PromptError("The image in the row has bytes that are not base64.") from None


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PromptError(f"The image {path} is not a file.")
            if status.st_size > MAX_IMAGE_BYTES:
                raise _too_large(f"The image {path}", status.st_size)
            return file.read(MAX_IMAGE_BYTES + 1)
    except FileNotFoundError:
        raise PromptError(f"The image {path} does not exist. Relative paths begin at the folder of the rows.") from None
    except (OSError, ValueError) as error:
        raise PromptError(f"The image {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe would block


def _inline(data: bytes, name: str) -> str:
    if len(data) > MAX_IMAGE_BYTES:
        raise _too_large(name, len(data))
    return f"data:{_media_type(data, name)};base64,{b64encode(data).decode()}"


def _too_large(name: str, size: int) -> PromptError:
    return PromptError(
        f"{name} has {size / 2**20:.1f} MiB. The limit is {MAX_IMAGE_BYTES >> 20} MiB: make it smaller, or pass a URL."
    )


def _media_type(data: bytes, name: str) -> str:
    start = data[:_SIGNATURE_BYTES]
    for media_type, signatures in _SIGNATURES.items():
        if start.startswith(signatures):
            return media_type
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return "image/webp"
    raise PromptError(f"{name} is not a PNG, JPEG, GIF or WebP image: it begins with {start!r}.")


def without_image_data(value: Any) -> Any:
    """Return a request body for display: the data of an image is replaced by its size."""
    match value:
        case dict():
            return {name: without_image_data(each) for name, each in value.items()}
        case list():
            return [without_image_data(each) for each in value]
        case str() if value.startswith("data:image/") and len(value) > MAX_SHOWN_DATA:
            return f"{value[:MAX_SHOWN_DATA]}... ({len(value):,} characters)"
    return value
