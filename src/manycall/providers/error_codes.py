"""Say what a failed attempt means: status, code and message, as its provider uses them → `FailureClass`.

The same word has different meanings: `insufficient_quota` is a rate limit at DashScope, and an empty account at OpenAI.
So a code is looked up under its provider first, then among the codes that mean the same everywhere. The status counts
only if no code is known. Messages are matched only where providers send the same code for different errors.
providers/provider_errors.py contains the tables of the providers.
"""

from collections.abc import Iterable

from manycall import errors
from manycall.errors import FailureClass, HttpStatusError
from manycall.limits import MINUTE_SECONDS
from manycall.providers.error_body import read_error_body
from manycall.providers.provider import Provider
from manycall.providers.provider_errors import (
    BAD_KEY,
    BAD_SETUP,
    CLASS_BY_PROVIDER_CODE,
    CLASS_BY_PROVIDER_STATUS,
    CONCURRENCY_LIMITED,
    CONTENT_FILTER,
    DAILY_QUOTA,
    KEY_RATE_LIMITED,
    MESSAGE_RULES,
    NO_ANSWER,
    OUT_OF_MONEY,
    OVERLOADED,
    PARAMETER,
    RATE_LIMITED,
    SERVER_ERROR,
    TOO_LONG,
)

BAD_REQUEST = FailureClass.BAD_REQUEST

CLASS_BY_STATUS: dict[int, FailureClass] = {
    301: BAD_SETUP,
    302: BAD_SETUP,
    303: BAD_SETUP,
    307: BAD_SETUP,
    308: BAD_SETUP,
    400: BAD_REQUEST,
    401: BAD_KEY,
    402: OUT_OF_MONEY,
    403: BAD_SETUP,
    404: BAD_SETUP,  # unknown path or unknown model
    405: BAD_SETUP,
    407: BAD_SETUP,  # proxy authentication required
    408: NO_ANSWER,
    409: OVERLOADED,
    413: TOO_LONG,
    422: BAD_REQUEST,
    424: SERVER_ERROR,  # TGI: the generation failed
    425: OVERLOADED,
    429: RATE_LIMITED,
    498: OVERLOADED,  # Groq: no capacity for flex processing
    499: NO_ANSWER,  # the server or a gateway closed the call, which may be billed
    503: OVERLOADED,
    529: OVERLOADED,  # Anthropic, OpenRouter
}
"""Other statuses: SERVER_ERROR from 500 on, else BAD_REQUEST."""

CLASS_BY_CODE: dict[str, FailureClass] = {
    "invalid_api_key": BAD_KEY,
    "authentication_error": BAD_KEY,
    "insufficient_quota": OUT_OF_MONEY,
    "billing_hard_limit_reached": OUT_OF_MONEY,
    "billing_error": OUT_OF_MONEY,
    "credit_balance_exhausted": OUT_OF_MONEY,
    "organization_spend_limit_exceeded": OUT_OF_MONEY,
    "organization_usage_limit_exceeded": OUT_OF_MONEY,
    "project_spend_limit_exceeded": OUT_OF_MONEY,
    "rate_limit_exceeded": RATE_LIMITED,
    "rate_limit_error": RATE_LIMITED,
    "overloaded_error": OVERLOADED,
    "server_is_overloaded": OVERLOADED,
    "engine_overloaded_error": OVERLOADED,
    "server_error": SERVER_ERROR,
    "model_not_found": BAD_SETUP,
    "unsupported_country_region_territory": BAD_SETUP,
    "content_filter": CONTENT_FILTER,
    "content_policy_violation": CONTENT_FILTER,
    "data_inspection_failed": CONTENT_FILTER,
    "cyber_policy": CONTENT_FILTER,
    "bio_policy": CONTENT_FILTER,
    "context_length_exceeded": TOO_LONG,
    "exceed_context_size_error": TOO_LONG,  # llama.cpp
    "request_too_large": TOO_LONG,
    "unsupported_parameter": PARAMETER,
    "unsupported_value": PARAMETER,
    "unknown_parameter": PARAMETER,
}
"""Codes that mean the same wherever they are used."""

CLASS_BY_ERROR: dict[type[errors.CallError], FailureClass] = {
    errors.CertificateError: FailureClass.UNTRUSTED_SERVER,
    errors.ConnectError: FailureClass.UNREACHABLE,
    errors.ConnectionLost: FailureClass.UNREACHABLE,
    errors.AttemptTimeout: NO_ANSWER,
    errors.IncompleteResponse: FailureClass.MALFORMED,
    errors.ResponseTooLarge: BAD_REQUEST,
    errors.EmptyCompletion: NO_ANSWER,
    errors.MaxTokensReached: BAD_REQUEST,
    errors.ContentFiltered: CONTENT_FILTER,
    errors.Declined: BAD_REQUEST,
    errors.InvalidResponse: FailureClass.MALFORMED,
}

_WAIT_CLASSES = {RATE_LIMITED, KEY_RATE_LIMITED, CONCURRENCY_LIMITED, DAILY_QUOTA, OVERLOADED}
_KEY_CLASSES = {BAD_KEY, OUT_OF_MONEY}
_ROW_CLASSES = {TOO_LONG, CONTENT_FILTER}
_RETRY_CLASSES = {RATE_LIMITED, CONCURRENCY_LIMITED, OVERLOADED, NO_ANSWER, SERVER_ERROR}
_STATUSES_IN_BODY = {429, 502, 503, 529}
"""Statuses that count if they are in the body of a response with status 200."""


def classify(error: errors.CallError, provider: Provider | None = None) -> FailureClass:
    """Return the class of a failure.

    Args:
        provider: the endpoint's provider; None if it is unknown.
    """
    name = "" if provider is None else provider.name
    if isinstance(error, HttpStatusError):
        status_class = _classify_status(error, name)
        if status_class is DAILY_QUOTA and error.retry_after is not None and error.retry_after < MINUTE_SECONDS:
            status_class = RATE_LIMITED  # a quota that refills gradually
        return _obey_should_retry(error, status_class)
    found = next((CLASS_BY_ERROR[kind] for kind in type(error).__mro__ if kind in CLASS_BY_ERROR), BAD_REQUEST)
    if type(error) is errors.InvalidResponse:  # its body may be an error with status 200
        read = read_error_body(error.body)
        in_body = CLASS_BY_STATUS.get(read.http_status or 0) if read.http_status in _STATUSES_IN_BODY else None
        return _by_code(read.codes, name) or in_body or found
    return found


def _classify_status(error: HttpStatusError, name: str) -> FailureClass:
    read = read_error_body(error.body)
    known = _by_message(read.message or str(error), error.status, name) or _by_code((error.code, *read.codes), name)
    if error.retry_after is not None and error.status in (402, 403, 429):
        if known not in _WAIT_CLASSES | _KEY_CLASSES | _ROW_CLASSES:
            return KEY_RATE_LIMITED if error.status == 402 else RATE_LIMITED
    elif known is None and error.status in (400, 422) and _is_of_a_parameter(read.parameter):
        return PARAMETER
    return (
        known
        or CLASS_BY_PROVIDER_STATUS.get((name, error.status))
        or CLASS_BY_STATUS.get(error.status)
        or (SERVER_ERROR if error.status >= 500 else BAD_REQUEST)
    )


def _by_message(message: str, status: int, name: str) -> FailureClass | None:
    for rule in MESSAGE_RULES:
        is_for = status in rule.statuses and (not rule.providers or name in rule.providers.split())
        if is_for and rule.pattern.search(message) is not None:
            return rule.failure_class
    return None


def _by_code(codes: Iterable[str], name: str) -> FailureClass | None:
    own = CLASS_BY_PROVIDER_CODE.get(name, {})
    beginnings = tuple((code[:-1], meaning) for code, meaning in own.items() if code.endswith("*"))
    codes = tuple(codes)
    for code in codes:
        if code in own:
            return own[code]
        for beginning, meaning in beginnings:
            if code.startswith(beginning):
                return meaning
    return next((CLASS_BY_CODE[code] for code in codes if code in CLASS_BY_CODE), None)


def _is_of_a_parameter(parameter: str) -> bool:
    """Whether an error is about a parameter, and not about the content of the row."""
    return bool(parameter) and not parameter.startswith(("messages", "prompt", "input", "model", "contents"))


def _obey_should_retry(error: HttpStatusError, found: FailureClass) -> FailureClass:
    """Return the class under the header `x-should-retry` of OpenAI and Anthropic."""
    if error.should_retry is False and found in _RETRY_CLASSES:
        return BAD_REQUEST
    if error.should_retry and found in (BAD_REQUEST, BAD_SETUP):
        return SERVER_ERROR
    return found


def temporary_class(error: HttpStatusError, failure_class: FailureClass) -> FailureClass | None:
    """Return the class of a refusal of a key if it is temporary; None if it cannot be (control/exhaustion.py).

    `insufficient_quota` means a rate limit on some servers and a used-up quota on others.
    """
    if failure_class is KEY_RATE_LIMITED:
        return KEY_RATE_LIMITED
    if error.should_retry is False:
        return None
    if failure_class is BAD_KEY:
        return FailureClass.OUTAGE
    is_quota = error.status == 429 and error.code == "insufficient_quota"
    return KEY_RATE_LIMITED if failure_class is OUT_OF_MONEY and is_quota else None


def is_throttle(error: errors.CallError, failure_class: FailureClass) -> bool:
    """Whether the refusal is a request to send fewer calls."""
    if failure_class is OVERLOADED:
        return isinstance(error, HttpStatusError) and error.status == 429
    return failure_class in (RATE_LIMITED, KEY_RATE_LIMITED, CONCURRENCY_LIMITED)
