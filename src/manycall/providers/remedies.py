"""What to do about a failure, as one sentence that is added to its message."""

from manycall.errors import FailureClass
from manycall.option_flags import option
from manycall.providers.provider import Provider

_REMEDIES: dict[FailureClass, str] = {
    FailureClass.BAD_KEY: "Check the API key in {source}.",
    FailureClass.OUT_OF_MONEY: "The account of this key has no money left: add credit, or raise its spend limit.",
    FailureClass.DAILY_QUOTA: "The quota of this key is used up and available again at {until}.",
    FailureClass.CONTENT_FILTER: "A content filter decided this: change the row, or use another model.",
    FailureClass.TOO_LONG: (
        "The prompt and max_tokens exceed the context length: shorten the row, or lower {max_tokens}."
    ),
    FailureClass.PARAMETER: "Change or omit the parameter that the server names.",
}
"""Other failures have none: the message of the server must be enough."""
_WITHOUT_KEY = "No API key was sent; set {source}."


def remedy(failure_class: FailureClass, provider: Provider, key_source: str | None, *, until: str = "") -> str:
    """Return what the user can do about a failure; "" if nothing is known.

    Args:
        key_source: what the key was read from; "" if that is unknown, None if no key was sent.
        until: when a daily quota is available again.
    """
    is_without_key = failure_class is FailureClass.BAD_KEY and key_source is None
    text = _WITHOUT_KEY if is_without_key else _REMEDIES.get(failure_class, "")
    source = key_source or next(iter(provider.key_variables), "OPENAI_API_KEY")
    return text.format(source=source, until=until, max_tokens=option("max_tokens"))
