"""Decide whether a refusal of a key is final, if the same response may also be temporary.

OpenAI answers 429 `insufficient_quota` when an account has no money left; other servers answer the same to an ordinary
throttle. (DashScope does, always; there it is not ambiguous.) OpenRouter answers 402 with `Retry-After` while calls in
flight reserve the rest of a budget. A key that has just been working is most likely throttled; a key that never worked
has no quota, unless the server says when to send the call again.

Gateways answer 401 "invalid key" to every key while their database cannot be reached (LiteLLM before June 2026). One
such answer must not end a run of a night.
"""

PATIENCE_SECONDS = 300.0
"""After refusals for this time without a success, they count as final. Throttles last about a minute."""


class Exhaustion:
    """Whether one key's quota is used up, or the key is no longer accepted."""

    def __init__(self) -> None:
        self._has_succeeded = False
        self._refused_since: float | None = None

    def __repr__(self) -> str:
        return f"<Exhaustion, refused since {self._refused_since}>"

    def record_success(self) -> None:
        """Record that a call with this key was answered."""
        self._has_succeeded = True
        self._refused_since = None

    def is_temporary(self, now: float, *, says_when: bool = False) -> bool:
        """Note a refusal that may be either; return whether to treat it as temporary.

        Args:
            says_when: the server says when to send the call again, so a key that never worked may be throttled too.
        """
        if self._refused_since is None:
            self._refused_since = now
        return (self._has_succeeded or says_when) and self.seconds(now) < PATIENCE_SECONDS

    def seconds(self, now: float) -> float:
        """Return for how many seconds calls have been refused without a success."""
        return 0.0 if self._refused_since is None else now - self._refused_since
