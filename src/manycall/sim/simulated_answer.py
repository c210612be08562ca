"""The answer to a call: thinking text and text within the limit, or an answer with a fault."""

import re
from typing import Any

from manycall.sim.generated_text import TextGenerator, token_count
from manycall.sim.sim_apis import SimApi
from manycall.sim.sim_dialects import SimDialect
from manycall.sim.sim_request import SimAnswer, SimCall
from manycall.sim.sim_settings import SimSettings

_OFF = (False, 0, "none", "disabled", "off", "minimal")
"""Values that switch thinking off."""
REFUSAL = "I'm sorry, but I can't help with that."


def thinks(settings: SimSettings, dialect: SimDialect, api: SimApi, call: SimCall) -> bool:
    """Return whether the model thinks before it answers a call."""
    if settings.reasoning == "none" or (settings.reasoning == "auto" and not dialect.is_thinker(call.model)):
        return False
    asked = [value for path in api.switches or dialect.switches if (value := _find(call.body, path)) is not None]
    return all(value not in _OFF for value in asked) and (bool(asked) or api.thinks_by_default)


def _find(body: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def make_answer(
    answers: TextGenerator, dialect: SimDialect, api: SimApi, call: SimCall, *, id: str, created: int
) -> SimAnswer:
    """Return the answer to a call. max_tokens limits the thinking text too, except at some providers."""
    settings = answers.settings
    thinking = answers.thinking(call.prompt, settings.reasoning_tokens) if thinks(settings, dialect, api, call) else ""
    thinking_tokens = token_count(thinking)
    prompt_tokens = token_count(call.prompt)
    limit = call.max_tokens
    answer = SimAnswer(
        id, call.model, created, thinking, "", "length", prompt_tokens, thinking_tokens, 0,
        cached_tokens=int(prompt_tokens * settings.cached_share),
    )  # fmt: skip
    if limit is not None and dialect.limit_includes_thinking:
        limit -= thinking_tokens
        if limit <= 0:
            end = len(thinking) * (call.max_tokens or 0) // thinking_tokens
            return answer._replace(thinking=thinking[:end], thinking_tokens=call.max_tokens or 0)
    text = answers.answer(call.prompt, {**call.params, "max_tokens": limit})
    return answer._replace(text=text.text, text_tokens=text.tokens, finish_reason=text.finish_reason)


def with_fault(answer: SimAnswer, fault: str) -> SimAnswer:
    """Return an answer with one of `provider_faults.ANSWER_FAULTS`; unchanged for faults of the connection."""
    half = answer.text[: len(answer.text) // 2]
    changes: dict[str, dict[str, Any]] = {
        "answer_filtered": {"text": half, "finish_reason": "content_filter"},
        "refused": {"text": "", "refusal": REFUSAL, "finish_reason": "stop"},
        "broken_answer": {"text": half, "finish_reason": "error"},
        "empty_answer": {"text": "", "finish_reason": "stop"},
        "only_thinking": {
            "text": "", "finish_reason": "stop", "thinking": answer.thinking or answer.text,
            "thinking_tokens": answer.thinking_tokens or answer.text_tokens,
        },
    }  # fmt: skip
    changed = answer._replace(**changes.get(fault, {}))
    if changed.text == answer.text:
        return changed
    return changed._replace(text_tokens=token_count(changed.text or changed.refusal))


_WRONG_KEY = re.compile(rb"(?:bearer +)?wrong", re.IGNORECASE)


def has_wrong_key(dialect: SimDialect, headers: Any) -> bool:
    """Return whether a request has a key that begins with "wrong", or has its key in a header that is not read."""
    keys = [headers[name] for name in dialect.key_headers if name in headers]
    if not keys:
        return any(name in headers for name in (b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"))
    return any(_WRONG_KEY.match(key) for key in keys)
