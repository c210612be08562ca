"""Estimate the tokens of a call before it is sent, from the usage of earlier calls.

No tokenizer is needed: the bytes per token vary little within one run, and after about fifty answers the estimate for a
prompt is within a few percent. The output is estimated as the mean of recent answers plus one standard deviation.
"""

import math

BYTES_PER_TOKEN = 4.0
"""Initial value, for English text. Chinese and code differ by a factor of up to three until answers have arrived."""
DEFAULT_OUTPUT_TOKENS = 256.0
SMOOTHING = 0.05
"""Weight of the newest answer in the averages."""


IMAGE_TOKENS = 1000
"""Tokens of an image, for which its bytes say nothing. An image of 1024 x 1024 pixels is 765 tokens at OpenAI (gpt-4o),
1,398 at Anthropic (width x height / 750)."""
_IMAGE_DATA = b";base64,"


def text_size(body: bytes) -> int:
    """Return the size of a request in bytes, in which an image counts as a text of IMAGE_TOKENS tokens."""
    size, start = len(body), body.find(_IMAGE_DATA)
    while start >= 0:
        end = body.find(b'"', start)
        if end < 0:
            return size
        size += int(IMAGE_TOKENS * BYTES_PER_TOKEN) - (end - start)
        start = body.find(_IMAGE_DATA, end)
    return size


class TokenEstimator:
    """Averages over the calls to one model."""

    __slots__ = ("_answers", "_bytes_per_token", "_output", "_variance")

    def __init__(self) -> None:
        self._answers = 0
        self._bytes_per_token = BYTES_PER_TOKEN
        self._output = DEFAULT_OUTPUT_TOKENS
        self._variance = 0.0

    def __repr__(self) -> str:
        return f"<TokenEstimator {self._bytes_per_token:.2f} bytes per token, {self._output:.0f} tokens of output>"

    def estimate(self, size: int, max_output: float | None) -> float:
        """Return the estimated tokens of a call.

        Args:
            size: bytes of the request (`text_size`).
            max_output: most tokens of the answer. All of them count, because many servers charge them in advance.
                None if the answer is not limited.
        """
        output = self._output + math.sqrt(self._variance)
        return size / self._bytes_per_token + (output if max_output is None else max_output)

    def update(self, size: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Record the usage of a request of `size` bytes."""
        if prompt_tokens <= 0:
            return  # the server reports no usage
        self._answers += 1
        weight = max(SMOOTHING, 1 / self._answers)
        self._bytes_per_token += weight * (size / prompt_tokens - self._bytes_per_token)
        step = completion_tokens - self._output
        self._output += weight * step
        self._variance = (1 - weight) * (self._variance + weight * step * step)
