"""How a simulated server behaves: its answers, its pace, its quotas, its faults. Pure; the same seed, the same
answers, whatever the order in which they are asked for.

Every draw is made from a hash of the seed and of what is asked, never from a running generator, so that
concurrency changes nothing.
"""

import math
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec


class Behaviour(msgspec.Struct, frozen=True):
    """What a server is like.

    Attributes:
        latency: seconds that every call takes at least.
        token_latency: seconds for each token of output.
        tokens: mean length of an answer to a question it has no answer key for (lognormal).
        slots: calls it works on at once; more wait, first come first served.
        rpm, tpm: requests and tokens it takes a minute; None: as many as come.
        accuracy: fraction of the answer key's questions that it answers right, exactly.
        error_rate, drop_rate, slow_rate: fractions of calls that get a 500, that are cut off in the middle of
            the reply, that take ten times as long.
        seed: of everything that is drawn.
    """

    latency: float = 0.02
    token_latency: float = 0.001
    tokens: float = 60.0
    slots: int = 256
    rpm: int | None = None
    tpm: int | None = None
    accuracy: float = 0.75
    error_rate: float = 0.0
    drop_rate: float = 0.0
    slow_rate: float = 0.0
    seed: int = 0


class Answer(NamedTuple):
    """What the server says: a text, its length in tokens, whether it was cut."""

    text: str
    tokens: int
    finish_reason: str


class Model:
    """Answers questions.

    Args:
        key: question -> right answer, a number as text.
    """

    def __init__(self, behaviour: Behaviour, key: Mapping[str, str]) -> None:
        self.behaviour = behaviour
        self._key = dict(key)
        self._right = _planted(self._key, behaviour)
        self._times_asked: dict[bytes, int] = {}
        self.asked: set[str] = set()

    def __repr__(self) -> str:
        return f"<Model knows {len(self._right)} of {len(self._key)} answers>"

    @property
    def planted(self) -> dict[str, Any]:
        """Of the key's questions that were asked: how many, and how many were answered right."""
        right = len(self.asked & self._right)
        return {"asked": len(self.asked), "right": right, "accuracy": right / len(self.asked) if self.asked else None}

    def answer(self, prompt: str, params: Mapping[str, Any]) -> Answer:
        """The answer to a prompt: the last question in it that the key holds, or else a story."""
        question = last_question(prompt)
        if question in self._key:
            self.asked.add(question)
            text = self._solution(question)
        else:
            text = self._story(prompt, params)
        return _cut(text, params)

    def _solution(self, question: str) -> str:
        right = self._key[question]
        said = right if question in self._right else _wrong(right)
        return f"Let us take it step by step. That leaves {said}.\nThe answer is {said}.\n#### {said}"

    def _story(self, prompt: str, params: Mapping[str, Any]) -> str:
        """Words without sense, in the prompt's script; another one each time, unless the temperature is 0."""
        digest = blake2b(prompt.encode("utf-8", "replace"), digest_size=12).digest()
        if _WANTS_DIGIT.search(prompt):
            return str(1 + int(5 * self.draw("grade", digest.hex())))
        turn = 0
        if params.get("temperature") != 0:
            turn = self._times_asked[digest] = self._times_asked.get(digest, -1) + 1
        draw = self.draw("story", digest.hex(), turn)
        length = max(5, round(lognormal(self.behaviour.tokens, 0.5, draw)))
        words, gap, stop = (_CHINESE, "", "。") if _is_chinese(prompt) else (_ENGLISH, " ", ".")
        picks = blake2b(f"{draw}".encode()).digest() * (length // 64 + 1)
        return gap.join(words[(b * 7 + k * 13) % len(words)] for k, b in enumerate(picks[:length])) + stop

    def seconds(self, answer: Answer, ticket: int) -> float:
        """How long the call takes once it has a slot."""
        b = self.behaviour
        slow = 10.0 if self.draw("slow", ticket) < b.slow_rate else 1.0
        return (b.latency + b.token_latency * answer.tokens) * slow

    def fault(self, ticket: int) -> str:
        """ "" or "error" or "drop", for the ticket-th call."""
        b, u = self.behaviour, self.draw("fault", ticket)
        return "error" if u < b.error_rate else "drop" if u < b.error_rate + b.drop_rate else ""

    def draw(self, *what: Any) -> float:
        """A number in [0, 1), always the same for the same things."""
        text = f"{self.behaviour.seed} {what}".encode()
        return int.from_bytes(blake2b(text, digest_size=7).digest(), "big") / 2**56


def _planted(key: Mapping[str, str], behaviour: Behaviour) -> frozenset[str]:
    """Exactly round(accuracy · n) questions, chosen by the seed."""
    ranked = sorted(key, key=lambda q: blake2b(f"{behaviour.seed} {q}".encode()).digest())
    return frozenset(ranked[: round(behaviour.accuracy * len(ranked))])


_QUESTION = re.compile(r"(?:^|\n)(?:Question|Q|Problem): *")


_WANTS_DIGIT = re.compile(r"digit only|\u53ea\u5199\u6570\u5b57")


def last_question(prompt: str) -> str:
    """What follows the last "Question:" or "Q:", up to "Answer:", "A:" or an empty line."""
    start = 0
    for match in _QUESTION.finditer(prompt):
        start = match.end()
    tail = prompt[start:]
    for end in ("\nAnswer:", "\nA:", "\n\n"):
        tail = tail.partition(end)[0]
    return tail.strip()


def _wrong(right: str) -> str:
    try:
        return str(int(right.replace(",", "")) + 1)
    except ValueError:
        return "0" if right != "0" else "1"


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= c <= "\u9fff" for c in text)


def token_count(text: str) -> int:
    """About as many tokens as a real tokenizer would make: one a Chinese character, one for four others."""
    wide = sum("\u2e80" <= c <= "\uffef" for c in text)
    return wide + math.ceil((len(text) - wide) / 4)


def lognormal(mean: float, sigma: float, u: float) -> float:
    """A lognormal draw of the given mean, from a uniform one (by the logistic stand-in for the normal)."""
    u = min(max(u, 1e-9), 1 - 1e-9)
    z = math.log(u / (1 - u)) / 1.702
    return mean * math.exp(sigma * z - sigma * sigma / 2)


def _cut(text: str, params: Mapping[str, Any]) -> Answer:
    """Stop at a stop string, and at max_tokens."""
    stops = params.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0] if isinstance(stop, str) and stop else text
    most = params.get("max_completion_tokens") or params.get("max_tokens")
    count = token_count(text)
    if isinstance(most, int) and count > most:
        keep = max(1, len(text) * most // count)
        return Answer(text[:keep], most, "length")
    return Answer(text, count, "stop")


class Quota:
    """A token bucket: so much a minute, at most one second's worth (or one call) at once."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60
        self.per_minute = per_minute
        self._most = max(1.0, self._rate)
        self._level, self._at = self._most, 0.0

    def take(self, cost: float, now: float) -> float:
        """0 if the call may go; otherwise seconds until it might."""
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        need = min(cost, self._most)  # a call larger than the bucket may go when it is full
        if self._level >= need:
            self._level -= cost
            return 0.0
        return (need - self._level) / self._rate

    @property
    def left(self) -> int:
        """What could be taken now."""
        return max(0, int(self._level))


_ENGLISH = [
    "the",
    "old",
    "lighthouse",
    "keeper",
    "counted",
    "every",
    "passing",
    "ship",
    "and",
    "wrote",
    "its",
    "name",
    "in",
    "a",
    "blue",
    "book",
    "until",
    "one",
    "night",
    "a",
    "boat",
    "without",
    "a",
    "name",
    "came",
    "in",
    "from",
    "the",
    "fog",
    "carrying",
    "only",
    "a",
    "clock",
    "that",
    "ran",
    "backwards",
    "so",
    "he",
    "lit",
    "a",
    "second",
    "lamp",
    "and",
    "waited",
    "while",
    "rain",
    "and",
    "gulls",
    "told",
    "him",
    "what",
    "the",
    "sea",
    "would",
    "not",
    "say",
    "about",
    "home",
]
_CHINESE = list("从前有座山里住着一位守灯的老人他每晚点亮蓝色小灯等候远方船只直到那夜雾中驶来无名旧船载满星光与秘密")
