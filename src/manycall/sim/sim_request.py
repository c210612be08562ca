"""A request to the simulated server, and the call that it contains in any API."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from zlib import crc32

Body = dict[str, Any]
_IMAGE_FIELDS = ("image_url", "source", "inlineData", "inline_data", "fileData")
"""Fields of image parts: of the chat and Responses APIs, of Anthropic's, of Gemini's."""


class SimRequest(NamedTuple):
    """One HTTP request. The names of the headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes


class SimCall(NamedTuple):
    """The call that a request contains, in the terms of OpenAI's chat API.

    Attributes:
        body: the body as it was sent.
        params: the parameters that the text depends on: stop, temperature, response_format.
        max_tokens: limit of the answer; None: no limit.
        shows_thinking: the request asks for thinking text, in an API that returns it only if asked.
        has_usage: a streamed response ends with the usage.
    """

    model: str
    prompt: str
    body: Body
    params: Body
    max_tokens: int | None = None
    stream: bool = False
    shows_thinking: bool = True
    has_usage: bool = True


class SimAnswer(NamedTuple):
    """The answer to a call.

    Attributes:
        finish_reason: in OpenAI's words, or "error" for an answer that broke off.
        thinking_tokens: number of thinking tokens. They are counted even if the thinking text is not returned.
        refusal: why the model declines to answer; "" if it answers.
        cached_tokens: number of prompt tokens that the usage reports as cached.
    """

    id: str
    model: str
    created: int
    thinking: str
    text: str
    finish_reason: str
    prompt_tokens: int
    thinking_tokens: int
    text_tokens: int
    refusal: str = ""
    cached_tokens: int = 0

    @property
    def completion_tokens(self) -> int:
        """Number of tokens of the thinking text and the answer."""
        return self.thinking_tokens + self.text_tokens


def content_text(content: Any) -> str:
    """Return the text of a message's content: a string, or a list of parts. A checksum stands for an image."""
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(map(_part_text, content))


def _part_text(part: Any) -> str:
    if not isinstance(part, Mapping):
        raise TypeError("a part of a message's content is not an object")
    image = next((part[name] for name in _IMAGE_FIELDS if part.get(name)), None)
    if image is not None:
        return f"[image {crc32(str(image).encode()):08x}]"
    text = part.get("text") or ""
    return text if isinstance(text, str) else ""


def stop_list(stop: Any) -> list[str]:
    """Return the stop strings of a request.

    Raises:
        TypeError: they are not strings.
    """
    stops = [stop] if isinstance(stop, str) else list(stop or ())
    if not all(isinstance(each, str) for each in stops):
        raise TypeError("stop must be a string or a list of strings")
    return stops


def prompt_of(*contents: Any) -> str:
    """Return the texts of messages as one prompt."""
    return "\n\n".join(text for content in contents if (text := content_text(content)))
