"""Change a canonical chat body into the body that a provider's chat API expects.

The canonical body identifies a call, so that endpoints of different providers can share one journal. Nothing is dropped
silently: a body that the provider cannot express raises a UsageError.
"""

from collections.abc import Mapping
from typing import Any

from manycall.errors import UsageError
from manycall.providers.provider import ImageRules, Provider

Body = dict[str, Any]


def adapt_body(provider: Provider, body: Body) -> Body:
    """Return the body for this provider; the same object if it needs no change.

    Raises:
        UsageError: two parameters contradict each other, or the provider does not accept an image.
    """
    adapted = body if provider.renames.keys().isdisjoint(body) else rename_params(provider, body)
    if provider.zero_temperature:
        adapted = _without_zero_temperature(provider, adapted)
    messages = body.get("messages")
    if provider.images != ImageRules() and isinstance(messages, list):
        changed = [_adapt_message(provider, message) for message in messages]
        if _has_changed(changed, messages):
            return {**adapted, "messages": changed}
    return adapted


def rename_params(provider: Provider, params: Mapping[str, Any]) -> Body:
    """Return the parameters under the names that they have in this API.

    Raises:
        UsageError: a parameter is given under both names.
    """
    for name, own_name in provider.renames.items():
        if name in params and own_name in params:
            raise UsageError(
                f"The parameters {name!r} and {own_name!r} are the same at {provider.name}. Remove one of them."
            )
    return {provider.renames.get(name, name): value for name, value in params.items()}


def _without_zero_temperature(provider: Provider, body: Body) -> Body:
    """Return the body with the provider's parameters for greedy decoding in place of `temperature: 0`.

    Raises:
        UsageError: the body contradicts them.
    """
    temperature = body.get("temperature")
    if temperature != 0 or isinstance(temperature, bool):
        return body
    for name, value in provider.zero_temperature.items():
        if body.get(name, value) != value:
            raise UsageError(
                f"temperature 0 is sent to {provider.name} as {name} = {value!r}, "
                f"but {name} is {body[name]!r:.100}. Remove one of them."
            )
    rest = {name: value for name, value in body.items() if name != "temperature"}
    return {**rest, **provider.zero_temperature}


def _adapt_message(provider: Provider, message: Any) -> Any:
    """Return the message for this provider; the same object if it needs no change."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or not content:
        return message
    if provider.images.text_as_string and all(_is_text(part) for part in content):
        return {**message, "content": "".join(part["text"] for part in content)}
    parts = [_adapt_image(provider, part) if _is_image(part) else part for part in content]
    return (
        message if all(new is old for new, old in zip(parts, content, strict=True)) else {**message, "content": parts}
    )


def _has_changed(new: list[Any], old: list[Any]) -> bool:
    return any(a is not b for a, b in zip(new, old, strict=True))


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _is_image(part: Any) -> bool:
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return False
    image = part.get("image_url")
    return isinstance(image, dict) and isinstance(image.get("url"), str)


def _adapt_image(provider: Provider, part: Body) -> Body:
    """Return an image part for this provider; the same object if it needs no change."""
    rules, url = provider.images, part["image_url"]["url"]
    head, is_inline, data = url.partition(";base64,")
    if not (is_inline and head.startswith("data:")):
        if not rules.urls:
            raise UsageError(
                f"{provider.name} does not load images from URLs, such as {url!r:.100}. Put the image into the request."
            )
        return part
    if rules.media_types and (media_type := head.removeprefix("data:").lower()) not in rules.media_types:
        allowed = ", ".join(rules.media_types)
        raise UsageError(f"{provider.name} does not accept images of type {media_type!r:.100}. Use one of {allowed}.")
    return {**part, "image_url": {**part["image_url"], "url": data}} if rules.bare_base64 else part
