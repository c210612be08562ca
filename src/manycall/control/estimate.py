"""How many tokens will this call cost? Guessed before it goes, learned from what calls did cost.

No tokenizer is needed: bytes a token differ little within one run, and after some fifty answers the guess of a
prompt is within a few percent. Output is guessed at the mean of what came lately and one standard deviation.
"""

import math

BYTES_PER_TOKEN = 4.0
"""Of English; Chinese and code differ by up to three times, until answers have come."""
FIRST_OUTPUT = 256.0
WEIGHT = 0.05
"""Of the newest answer in the averages."""


class Estimate:
    """What one model's calls cost, so far."""

    __slots__ = ("_answers", "_bytes_per_token", "_output", "_variance")

    def __init__(self) -> None:
        self._answers = 0
        self._bytes_per_token = BYTES_PER_TOKEN
        self._output = FIRST_OUTPUT
        self._variance = 0.0

    def __repr__(self) -> str:
        return f"<Estimate {self._bytes_per_token:.2f} bytes a token, {self._output:.0f} tokens of output>"

    def tokens(self, size: int, most_output: float | None) -> float:
        """Tokens of a request of so many bytes, whose answer may have so many tokens: all of these, because many
        servers charge them before they know; None: as many as it likes."""
        output = self._output + math.sqrt(self._variance)
        return size / self._bytes_per_token + (output if most_output is None else most_output)

    def learn(self, size: int, prompt_tokens: int, completion_tokens: int) -> None:
        """A request of so many bytes has cost this."""
        if prompt_tokens <= 0:
            return  # the server does not count
        self._answers += 1
        weight = max(WEIGHT, 1 / self._answers)
        self._bytes_per_token += weight * (size / prompt_tokens - self._bytes_per_token)
        step = completion_tokens - self._output
        self._output += weight * step
        self._variance = (1 - weight) * (self._variance + weight * step * step)
