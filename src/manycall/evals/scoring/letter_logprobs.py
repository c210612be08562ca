"""The most likely letter, from the log probabilities of the first token of an answer."""

import math
from collections import defaultdict
from string import ascii_uppercase
from typing import Any

from manycall.errors import InvalidResponse
from manycall.evals.scoring.choice_answers import choices_of
from manycall.records import Completion, Fields

LOGPROB_PARAMS: dict[str, Any] = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 20}
"""Parameters of the calls. 20 is the largest number of alternatives that OpenAI's API and vLLM return by default."""


def most_likely_letter(reply: Completion, fields: Fields) -> str:
    """Return the most likely letter of a choice among the alternatives of the first token; "" if none is such a letter.

    Of a row without choices (`choices_of`), any capital letter may be one.

    The probabilities of tokens that differ only in white space, such as "B" and " B", are added.

    Raises:
        InvalidResponse: the response has no log probabilities.
    """
    try:
        alternatives = reply.raw["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        pairs = [(str(each["token"]).strip(), float(each["logprob"])) for each in alternatives]
    except (LookupError, TypeError, ValueError):
        raise InvalidResponse(
            "The response has no log probabilities (top_logprobs). Use another endpoint, or the scorer choice."
        ) from None
    found = choices_of(fields)
    letters = [*ascii_uppercase] if found is None else found[1]
    totals: defaultdict[str, float] = defaultdict(float)
    for token, logprob in pairs:
        if token in letters:
            totals[token] += math.exp(min(logprob, 0.0))
    return max(totals, key=lambda letter: totals[letter], default="")
