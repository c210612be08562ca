"""Tables: error codes, statuses and messages that have a meaning of their own at one provider."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from manycall.errors import FailureClass
from manycall.providers.error_body import MODERATION_REASONS, PER_DAY

OVERLOADED, RATE_LIMITED, KEY_RATE_LIMITED = (
    FailureClass.OVERLOADED,
    FailureClass.RATE_LIMITED,
    FailureClass.KEY_RATE_LIMITED,
)
CONCURRENCY_LIMITED, DAILY_QUOTA = FailureClass.CONCURRENCY_LIMITED, FailureClass.DAILY_QUOTA
BAD_KEY, OUT_OF_MONEY, BAD_SETUP = FailureClass.BAD_KEY, FailureClass.OUT_OF_MONEY, FailureClass.BAD_SETUP
CONTENT_FILTER, TOO_LONG, PARAMETER = FailureClass.CONTENT_FILTER, FailureClass.TOO_LONG, FailureClass.PARAMETER
NO_ANSWER, SERVER_ERROR = FailureClass.NO_ANSWER, FailureClass.SERVER_ERROR

_OPENAI = {
    "resource_unavailable": OVERLOADED,
    "invalid_prompt": CONTENT_FILTER,
    "deploymentnotfound": BAD_SETUP,  # Azure
}
_GEMINI = {
    "api_key_invalid": BAD_KEY,
    PER_DAY: DAILY_QUOTA,
    "resource_exhausted": RATE_LIMITED,
    "unavailable": OVERLOADED,
}
CLASS_BY_PROVIDER_CODE: dict[str, Mapping[str, FailureClass]] = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "azure_v1": _OPENAI,
    "gemini": _GEMINI,
    "gemini_openai": _GEMINI,
    "anthropic": {  # docs.claude.com/en/api/errors
        "enforced_spend_limit_reached": OUT_OF_MONEY,
        "contract_spend_limit_reached": OUT_OF_MONEY,
        "ramp_limit_exceeded": RATE_LIMITED,
        "not_found_error": BAD_SETUP,
        "request_forbidden": BAD_SETUP,
    },
    "dashscope": {  # help.aliyun.com/zh/model-studio/error-code
        "arrearage": OUT_OF_MONEY,
        "prepaidbilloverdue": OUT_OF_MONEY,
        "postpaidbilloverdue": OUT_OF_MONEY,
        "commoditynotpurchased": OUT_OF_MONEY,
        "allocationquota.freetieronly": OUT_OF_MONEY,
        "accessdenied.unpurchased": OUT_OF_MONEY,
        "insufficient_quota": RATE_LIMITED,  # tokens per minute
        "limitrequests": RATE_LIMITED,
        "limit_requests": RATE_LIMITED,
        "throttling.serviceoverloaded": OVERLOADED,
        "throttling*": RATE_LIMITED,
        "datainspectionfailed": CONTENT_FILTER,
        "customroleblocked": CONTENT_FILTER,
        "internalerror.algo.invalidparameter": PARAMETER,
        "internalerror*": SERVER_ERROR,
        "invalidparameter*": PARAMETER,
        "invalid_parameter_error": PARAMETER,
        "modelnotfound": BAD_SETUP,
    },
    "zhipu": {  # docs.bigmodel.cn/cn/api/api-code
        "1000": BAD_KEY,
        "1001": BAD_KEY,
        "1002": BAD_KEY,
        "1003": BAD_KEY,
        "1004": BAD_KEY,
        "1112": OUT_OF_MONEY,
        "1113": OUT_OF_MONEY,
        "1121": OUT_OF_MONEY,
        "1309": OUT_OF_MONEY,
        "1304": DAILY_QUOTA,
        "1308": DAILY_QUOTA,
        "1310": DAILY_QUOTA,
        "1302": CONCURRENCY_LIMITED,
        "1303": RATE_LIMITED,
        "1305": RATE_LIMITED,
        "1312": OVERLOADED,
        "1120": SERVER_ERROR,
        "1230": SERVER_ERROR,
        "1234": SERVER_ERROR,
        "1301": CONTENT_FILTER,
        "1261": TOO_LONG,
        "1211": BAD_SETUP,
        "1210": PARAMETER,
        "1212": PARAMETER,
        "1213": PARAMETER,
        "1214": PARAMETER,
        "1215": PARAMETER,
    },
    "moonshot": {  # platform.moonshot.cn/docs/api/errors
        "exceeded_current_quota_error": OUT_OF_MONEY,
        "rate_limit_reached_error": RATE_LIMITED,
        "resource_not_found_error": BAD_SETUP,
        "client_closed_request": NO_ANSWER,
    },
    "ark": {  # www.volcengine.com/docs/82379/1299023
        "accountoverdueerror": OUT_OF_MONEY,
        "ratelimitexceeded*": RATE_LIMITED,
        "accountratelimitexceeded": RATE_LIMITED,
        "serveroverloaded": OVERLOADED,
        "inputtextsensitivecontentdetected*": CONTENT_FILTER,
        "inputtextriskdetection": CONTENT_FILTER,
        "inputimage*": CONTENT_FILTER,
        "sensitivecontentdetected*": CONTENT_FILTER,
        "outputtext*": CONTENT_FILTER,
        "invalidparameter*": PARAMETER,
        "modelnotopen": BAD_SETUP,
        "invalidendpointormodel.notfound": BAD_SETUP,
    },
    "minimax": {  # platform.minimaxi.com/document/error_code
        "1002": RATE_LIMITED,
        "1004": BAD_KEY,
        "1008": OUT_OF_MONEY,
        "1026": CONTENT_FILTER,
        "1027": CONTENT_FILTER,
        "1039": TOO_LONG,
    },
    "openrouter": {  # openrouter.ai/docs/api-reference/errors
        "openrouter_in_flight_budget": KEY_RATE_LIMITED,
        "openrouter_free_tier_daily": DAILY_QUOTA,
        MODERATION_REASONS: CONTENT_FILTER,
    },
    "siliconflow": {"30001": OUT_OF_MONEY},
    "xai": {"input_too_large": TOO_LONG},
}
"""Provider → code → class. A code that ends in `*` stands for all codes that begin with it."""

CLASS_BY_PROVIDER_STATUS: dict[tuple[str, int], FailureClass] = {
    ("deepseek", 422): PARAMETER,
    ("deepseek", 429): CONCURRENCY_LIMITED,  # its limit is the number of calls in flight for the account
    ("fireworks", 412): OUT_OF_MONEY,  # the account is suspended
    ("mistral", 422): PARAMETER,
    ("together", 403): TOO_LONG,  # the prompt and max_tokens exceed the context length
}
"""Statuses with another meaning at one provider than in CLASS_BY_STATUS."""


class MessageRule(NamedTuple):
    """A meaning that only the message states.

    Attributes:
        providers: names of the providers, separated by blanks; "": every provider.
        statuses: the HTTP statuses of the error.
        pattern: what the message contains.
    """

    providers: str
    statuses: tuple[int, ...]
    pattern: re.Pattern[str]
    failure_class: FailureClass


def _says(providers: str, statuses: tuple[int, ...], pattern: str, failure_class: FailureClass) -> MessageRule:
    return MessageRule(providers, statuses, re.compile(pattern, re.IGNORECASE), failure_class)


MESSAGE_RULES: tuple[MessageRule, ...] = (
    _says("dashscope", (403, 429), "free allocated quota exceeded", OUT_OF_MONEY),
    _says("anthropic", (400,), "credit balance is too low|reached your specified .*usage limits", OUT_OF_MONEY),
    _says("xai", (400,), "incorrect api key", BAD_KEY),
    # github.com/deepseek-ai/DeepSeek-V2/issues/30, github.com/langbot-app/LangBot/issues/1643
    _says("deepseek", (400,), "^content exists risk", CONTENT_FILTER),
    _says("deepseek", (400,), "^model not exist", BAD_SETUP),
    _says("groq moonshot openai", (429,), r"\b(TPD|RPD|(tokens|requests) per day)\b", DAILY_QUOTA),
    _says("openrouter", (429,), "free-models-per-day", DAILY_QUOTA),
    _says("moonshot", (429,), "concurrency", CONCURRENCY_LIMITED),
    _says("xai", (403,), "SAFETY_CHECK", CONTENT_FILTER),
    _says("xai", (403, 429), "used all available credits", OUT_OF_MONEY),
    _says("dashscope", (400,), "range of input length should be", TOO_LONG),
    _says("moonshot", (400,), "exceeded model token limit", TOO_LONG),
    _says("anthropic", (400,), "prompt is too long|exceed context limit", TOO_LONG),
    _says("gemini gemini_openai", (400,), "exceeds the maximum number of tokens", TOO_LONG),
    _says("gemini gemini_openai", (400,), "location is not supported", BAD_SETUP),
    _says("openai azure azure_v1 groq", (413, 429), "^request too large", TOO_LONG),  # for a whole minute's tokens
    _says("minimax", (400,), "context window exceeds limit", TOO_LONG),
    # vLLM, SGLang
    _says("", (400,), "maximum context length|longer than the (model's context|maximum model) length", TOO_LONG),
    _says("sglang", (400,), "exceeds the maximum allowed length", TOO_LONG),
    # vLLM's Messages API names the parameter only in the message.
    _says("", (400,), r"\(parameter=(?!messages|prompt|input|model)", PARAMETER),
    _says("anthropic", (400,), "extra inputs are not permitted", PARAMETER),
    _says("dashscope", (400,), "only supports? stream mode|for non-streaming calls", PARAMETER),
)
"""The first rule that applies counts."""
