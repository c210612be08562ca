"""Text of the simulated server: meaningless stories, and answers with an exact accuracy.

Every random choice is computed from a hash of the seed and the request, not from a generator with state. So the same
seed gives the same answers, regardless of order and concurrency.
"""

import math
import re
from collections.abc import Mapping
from hashlib import blake2b
from statistics import NormalDist
from typing import Any, NamedTuple

from manycall.sim.schema_instances import asked_schema, corrupt_json, example_json, wrap_json
from manycall.sim.sim_settings import SimSettings, sim_uniform


class GeneratedText(NamedTuple):
    """A text, its length in tokens, and its finish reason ("stop" or "length")."""

    text: str
    tokens: int
    finish_reason: str


class PlantedResponses(NamedTuple):
    """A right and a wrong response to a prompt."""

    right: str
    wrong: str


AnswerKey = Mapping[str, str | PlantedResponses]
"""Question → correct answer, a number as text; or the end of a prompt, as it is sent → responses to it."""


class TextGenerator:
    """Generates the text of answers.

    Attributes:
        settings: the settings of the server.
        asked: questions of the key that were requested.
    """

    def __init__(self, settings: SimSettings, key: AnswerKey) -> None:
        self.settings = settings
        self._key = dict(key)
        ends = (end for end, responses in key.items() if isinstance(responses, PlantedResponses))
        self._lengths = sorted({*map(len, ends)}, reverse=True)
        self._right = _correct_questions(self._key, settings)
        self._times_asked: dict[bytes, int] = {}
        self.asked: set[str] = set()

    def __repr__(self) -> str:
        return f"<TextGenerator: knows {len(self._right)} of {len(self._key)} answers>"

    @property
    def expected_correct(self) -> dict[str, Any]:
        """Number of requested questions of the key, number of correct answers, and accuracy."""
        right = len(self.asked & self._right)
        return {"asked": len(self.asked), "right": right, "accuracy": right / len(self.asked) if self.asked else None}

    def answer(self, prompt: str, params: Mapping[str, Any]) -> GeneratedText:
        """Return the answer to the last question of a prompt if the key contains it, else a story."""
        if (schema := asked_schema(params)) is not None:
            return _cut(self._shaped(prompt, params, schema), params)
        question = self._asked(prompt)
        if question in self._key:
            self.asked.add(question)
            text = self._solution(
                question, "The final answer is" if "The final answer is" in prompt else "The answer is"
            )
        else:
            text = self._story(prompt, params)
        return _cut(text, params)

    def thinking(self, prompt: str, mean_tokens: float) -> str:
        """Return the thinking text for a prompt. It contains a wrong answer, which must not be scored."""
        seed = self.settings.seed
        digest = blake2b(prompt.encode("utf-8", "replace"), digest_size=12).hexdigest()
        u = sim_uniform(seed, "thinking", digest)
        length = max(5, round(lognormal(mean_tokens, self.settings.spread, u)))
        text = _story(_is_chinese(prompt), length, int(u * 2**56))
        if (right := self._key.get(self._asked(prompt))) is None:
            return text
        if isinstance(right, PlantedResponses):
            return f"{right.wrong}\nWait, that is not correct: {text}"
        wrong = _wrong(_wrong(right))
        return f"The answer is {wrong}.\n#### {wrong}\nWait, that is not correct: {text}"

    def _asked(self, prompt: str) -> str:
        """Return the entry of the key that a prompt asks for; if there is none, a text that is not in the key."""
        ends = (prompt[-length:] for length in self._lengths)
        known = next((end for end in ends if isinstance(self._key.get(end), PlantedResponses)), None)
        return known or (last_question(prompt) if self._key else "")

    def _which(self, prompt: str, params: Mapping[str, Any]) -> tuple[bytes, int]:
        """Return (hash of the prompt, number of earlier requests with it). At temperature 0 the number is always 0.

        Requests for one token are not counted: a client that probes the server gets the same texts as others.
        """
        digest = blake2b(prompt.encode("utf-8", "replace"), digest_size=12).digest()
        turn = 0
        if params.get("temperature") != 0 and _max_tokens(params) != 1:
            turn = self._times_asked[digest] = self._times_asked.get(digest, -1) + 1
        return digest, turn

    def _shaped(self, prompt: str, params: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
        """Return JSON that fits the requested schema, or violates it with the probability `invalid_rate`. The JSON that
        fits is wrapped in other text with the probability `wrapped_rate`."""
        digest, turn = self._which(prompt, params)
        seed = self.settings.seed
        text = example_json(schema, seed, digest.hex(), turn)
        u = sim_uniform(seed, "invalid", digest.hex(), turn) / (self.settings.invalid_rate or 1)
        if self.settings.invalid_rate > 0 and u < 1:
            return corrupt_json(text, u)
        u = sim_uniform(seed, "wrapped", digest.hex(), turn) / (self.settings.wrapped_rate or 1)
        return wrap_json(text, u) if self.settings.wrapped_rate > 0 and u < 1 else text

    def _solution(self, question: str, wording: str) -> str:
        right = self._key[question]
        if isinstance(right, PlantedResponses):
            return right.right if question in self._right else right.wrong
        answer = right if question in self._right else _wrong(right)
        return f"Let us take it step by step. That leaves {answer}.\n{wording} {answer}.\n#### {answer}"

    def _story(self, prompt: str, params: Mapping[str, Any]) -> str:
        """Return a digit or a verdict if the prompt requests one, else a story in the prompt's script.

        Repeated requests get different texts, unless the temperature is 0.
        """
        digest, turn = self._which(prompt, params)
        if _WANTS_DIGIT.search(prompt):
            return str(1 + int(5 * sim_uniform(self.settings.seed, "grade", digest.hex())))
        u = sim_uniform(self.settings.seed, "story", digest.hex(), turn)
        if match := _WANTS_VERDICT.search(prompt):
            labels = match[1].split(", ")
            return f"It has its merits, and its faults.\nVerdict: {labels[int(u * len(labels))]}"
        mean = self.settings.output_ratio * token_count(prompt) or self.settings.tokens
        length = max(5, round(lognormal(mean, self.settings.spread, u)))
        return _story(_is_chinese(prompt), length, int(u * 2**56))


def _story(chinese: bool, length: int, pick: int) -> str:
    """Return `length` tokens: three words that make the story unique, then a piece of the stream."""
    words, gap, stream = _STREAMS[chinese]
    opening = gap.join(words[(pick >> shift) % len(words)] for shift in (0, 8, 16))
    characters = length * (1 if chinese else 4) - 1
    start = (pick >> 24) % 8192
    text = f"{opening}{gap}{stream[start : start + characters]}"
    while len(text) < characters:
        text += stream
    return text[:characters] + ("\u3002" if chinese else ".")


def _correct_questions(key: AnswerKey, settings: SimSettings) -> frozenset[str]:
    """Return exactly round(accuracy · n) questions, chosen by the seed."""
    ranked = sorted(key, key=lambda q: blake2b(f"{settings.seed} {q}".encode()).digest())
    return frozenset(ranked[: round(settings.accuracy * len(ranked))])


_QUESTION = re.compile(r"(?:^|\n)(?:Question|Q|Problem): *")


_WANTS_VERDICT = re.compile(r"where X is one of ([^\n]+):\nVerdict: X\Z")
_WANTS_DIGIT = re.compile(r"digit only|\u53ea\u5199\u6570\u5b57")


def last_question(prompt: str) -> str:
    """Return the text after the last "Question:", "Q:" or "Problem:".

    It ends at the choices, at "Answer:", "A:" or "Your response should", or at an empty line.
    """
    start = 0
    for match in _QUESTION.finditer(prompt):
        start = match.end()
    tail = prompt[start:]
    for end in ("\nA. ", "\nAnswer:", "\nA:", "\nYour response should", "\n\n"):
        tail = tail.partition(end)[0]
    return tail.strip()


def _wrong(right: str) -> str:
    try:
        return str(int(right.replace(",", "")) + 1)
    except ValueError:
        return "0" if right != "0" else "1"


def _is_chinese(text: str) -> bool:
    return not text.isascii() and any("\u4e00" <= c <= "\u9fff" for c in text)


def token_count(text: str) -> int:
    """Return the approximate number of tokens: one per Chinese character and one per four other characters."""
    if text.isascii():
        return -(-len(text) // 4)
    wide = sum("\u2e80" <= c <= "\uffef" for c in text)
    return wide + math.ceil((len(text) - wide) / 4)


_NORMAL = NormalDist()


def lognormal(mean: float, sigma: float, u: float) -> float:
    """Convert a uniform random number to a lognormal one with the given mean."""
    z = _NORMAL.inv_cdf(min(max(u, 1e-9), 1 - 1e-9))
    return mean * math.exp(sigma * z - sigma * sigma / 2)


def _cut(text: str, params: Mapping[str, Any]) -> GeneratedText:
    """Truncate a text at the first stop string and at max_tokens."""
    stops = params.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops if isinstance(stops, list) else ():
        text = text.partition(stop)[0] if isinstance(stop, str) and stop else text
    limit = _max_tokens(params)
    count = token_count(text)
    if isinstance(limit, int) and count > limit:
        keep = max(1, len(text) * limit // count)
        return GeneratedText(text[:keep], limit, "length")
    return GeneratedText(text, count, "stop")


def _max_tokens(params: Mapping[str, Any]) -> Any:
    return params.get("max_completion_tokens") or params.get("max_tokens")


def _stream(words: list[str], gap: str) -> str:
    """Return about 60,000 characters. Stories are slices of them, which are cheaper than generating text."""
    picks = b"".join(blake2b(bytes([n])).digest() for n in range(200))
    return gap.join(words[pick % len(words)] for pick in picks)


_ENGLISH = (
    "the old lighthouse keeper counted every passing ship and wrote its name in a blue book until one night a boat "
    "without a name came in from the fog carrying only a clock that ran backwards so he lit a second lamp and waited "
    "while rain and gulls told him what the sea would not say about home"
).split()
_CHINESE = list("从前有座山里住着一位守灯的老人他每晚点亮蓝色小灯等候远方船只直到那夜雾中驶来无名旧船载满星光与秘密")
_STREAMS = {True: (_CHINESE, "", _stream(_CHINESE, "") * 5), False: (_ENGLISH, " ", _stream(_ENGLISH, " "))}
