"""Read the canonical chat body, for the wires that translate it into the body of another API.

A wire has one table: parameter name -> rule. A rule returns the part of the native body that expresses the value, or
raises a UsageError if the API cannot express it. Parameters without a rule are sent unchanged, so that users can set
parameters that only the native API has. Parameters that are null are omitted, because null means the default.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import msgspec

from manycall import errors

Body = dict[str, Any]
Rule = Callable[[Any], Body]
T = TypeVar("T")


class Function(msgspec.Struct):
    """The function of a tool call. `arguments` is JSON text."""

    name: str
    arguments: str = ""


class ToolCall(msgspec.Struct):
    """A tool call of an assistant message. `extra_content` may hold Gemini's thought signature."""

    function: Function
    id: str = ""
    extra_content: Body | None = None


class ChatMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A message with the fields that another API can express. Other fields raise an error unless they are null."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Body] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    type: str | None = None
    annotations: Any = None
    audio: None = None
    function_call: None = None


class ToolDefinition(msgspec.Struct, forbid_unknown_fields=True):
    """The function that a tool declares."""

    name: str
    description: str | None = None
    parameters: Body | None = None
    strict: bool | None = None


class JsonSchema(msgspec.Struct):
    """The schema of a structured answer."""

    schema: Body
    name: str = "answer"
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """The parameter `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


def as_type(name: str, value: Any, kind: type[T]) -> T:
    """Return a value of the body as the expected type.

    Raises:
        UsageError: the value has another type.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise errors.UsageError(f"{name!r} of the request is not valid for this API: {error}.") from None


def messages_of(body: Body) -> list[ChatMessage]:
    """Return the messages of a body.

    Raises:
        UsageError: a message is malformed, or has a field that only the chat API has.
    """
    messages = as_type("messages", body.get("messages"), list[ChatMessage])
    for message in messages:
        if message.name and message.role != "tool":
            raise errors.UsageError(
                "A message has the field 'name', which only the chat API has. Put the name into the text."
            )
    return messages


def parts_of(message: ChatMessage) -> list[Body]:
    """Return the content of a message as a list of parts."""
    if message.content is None:
        return []
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}]
    return message.content


def text_of(message: ChatMessage, api: str) -> str:
    """Return the text of a message that may contain only text.

    Raises:
        UsageError: the content has a part that is not text.
    """
    for part in parts_of(message):
        if part.get("type") not in ("text", "refusal"):
            raise unsupported_part(part, api, f" in a message of role {message.role!r}")
    return "".join(str(part.get(part["type"], "")) for part in parts_of(message))


def unsupported_part(part: Body, api: str, where: str = "") -> errors.UsageError:
    """Return the error for a content part that the API cannot express."""
    return errors.UsageError(f"{api} has no equivalent of a content part of type {part.get('type')!r}{where}.")


def arguments_of(call: ToolCall) -> Body:
    """Return the arguments of a tool call as an object.

    Raises:
        UsageError: the arguments are not a JSON object.
    """
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        raise errors.UsageError(
            f"The arguments of the call to the tool {call.function.name!r} are not a JSON object."
        ) from None
    return arguments


def image_url(part: Body) -> str:
    """Return the URL of an image part, which is either an object or the URL itself.

    Raises:
        UsageError: the part has no URL.
    """
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise errors.UsageError("An image_url part of a message has no URL.")
    return url


def split_data_url(url: str) -> tuple[str, str] | None:
    """Return (media type, base64 data) of a `data:` URL; None for other URLs.

    Raises:
        UsageError: the data is not in base64.
    """
    if not url.startswith("data:"):
        return None
    head, comma, data = url.removeprefix("data:").partition(",")
    media_type, semicolon, encoding = head.partition(";")
    if not (comma and media_type and data and semicolon and encoding.endswith("base64")):
        raise errors.UsageError(f"A data URL must have the form data:image/png;base64,…, not {url[:40]!r}.")
    return media_type, data


def stop_sequences(value: Any) -> list[str]:
    """Return the value of `stop` as a list."""
    return [value] if isinstance(value, str) else as_type("stop", value, list[str])


def functions_of(tools: Any) -> tuple[list[ToolDefinition], list[Body]]:
    """Return the functions among the tools, and the other tools, which are native ones of the API."""
    functions, others = [], []
    for tool in as_type("tools", tools, list[Body]):
        if "function" in tool:
            functions.append(as_type("tools", tool["function"], ToolDefinition))
        else:
            others.append(tool)
    return functions, others


def chosen_function(choice: Any) -> str | None:
    """Return the function name in a `tool_choice` of the form {"type": "function", "function": {"name": …}}."""
    if isinstance(choice, dict) and isinstance(function := choice.get("function"), dict):
        return as_type("tool_choice", function.get("name"), str)
    return None


def rename(*path: str) -> Rule:
    """Return the rule of a parameter that keeps its value and has another place in the native body."""

    def rule(value: Any) -> Body:
        for name in reversed(path):
            value = {name: value}
        assert isinstance(value, dict)
        return value

    return rule


def omit(_: Any) -> Body:
    """Leave out a parameter that has no effect in the native API."""
    return {}


def choose(name: str, api: str, bodies: Mapping[Any, Body]) -> Rule:
    """Return the rule of a parameter of which the API can express only the listed values."""

    def rule(value: Any) -> Body:
        if isinstance(value, str | bool) and value in bodies:
            return bodies[value]
        allowed = ", ".join(map(repr, bodies))
        raise errors.UsageError(f"{api} cannot express {name}={value!r}. Use one of {allowed}, or remove it.")

    return rule


def unsupported(api: str, defaults: Mapping[str, tuple[Any, ...]]) -> dict[str, Rule]:
    """Return the rules of parameters that the API does not have.

    Args:
        defaults: parameter -> values that are accepted and omitted, because they ask for the default behaviour.
    """

    def rule_of(name: str, neutral: tuple[Any, ...]) -> Rule:
        def rule(value: Any) -> Body:
            if value in neutral:
                return {}
            raise errors.UsageError(f"{api} has no parameter {name!r}. Remove it, or use an endpoint with a chat API.")

        return rule

    return {name: rule_of(name, neutral) for name, neutral in defaults.items()}


def translate(body: Body, rules: Mapping[str, Rule]) -> Body:
    """Return the native form of the parameters of a body.

    The rules apply in the order of the table. Parameters without a rule come last and win.

    Raises:
        UsageError: the API cannot express a parameter.
    """
    given = {name: value for name, value in body.items() if value is not None and name not in ("model", "messages")}
    if len({given[name] for name in ("max_tokens", "max_completion_tokens") if name in given}) > 1:
        raise errors.UsageError("max_tokens and max_completion_tokens have different values. Set only one of them.")
    native: Body = {}
    for name, rule in rules.items():
        if name in given:
            native = merge(native, rule(given.pop(name)))
    return merge(native, given)


def merge(first: Body, second: Body) -> Body:
    """Return both bodies in one. Objects are merged, lists are joined, and other values of `second` win."""
    merged = dict(first)
    for name, value in second.items():
        match merged.get(name), value:
            case dict() as old, dict():
                merged[name] = merge(old, value)
            case list() as old, list():
                merged[name] = old + value
            case _:
                merged[name] = value
    return merged
