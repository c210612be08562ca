"""One endpoint: a server and a key, and what has been learned of them."""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from manycall import clock
from manycall.control import gauges, hints, retry
from manycall.control.exhaustion import Exhaustion
from manycall.control.health import Health
from manycall.control.quota import Cost, Limits, Quota
from manycall.control.throttle import Throttle
from manycall.control.window import FULL, Window
from manycall.errors import ManycallError, Refused, TimedOut, TransportError
from manycall.records import Api, Secret
from manycall.wire import address, openai
from manycall.wire.loopback import is_loopback
from manycall.wire.scrub import scrubber
from manycall.wire.transport import HttpReply, HttpRequest, Transport

ITS_OWN_FAULT = frozenset({200, 400, 408, 409, 413, 422, 425, 429})
"""Statuses that say nothing against the server."""
NEAR_CANARY_SECONDS, CANARY_SECONDS, HOSTED_CANARY_SECONDS = 0.03, 0.1, 2.0
"""That the first answer is awaited: a refusal comes sooner, and a round of calls takes longer than that."""
LISTEN_SECONDS, SILENT_LOOKS = 0.25, 8
"""Between two looks at what the replies' headers say of limits; after so many that found none, there are none."""
LONGEST_HOLD = 1.0
"""A server that says that nothing is left is believed for so long, unless it refuses: a reset may be the moment at
which all is left again."""
ANSWER_SECONDS = 10.0
"""That an answer may take; where a quota is known, so many seconds' worth of calls may be in flight from the start."""
QUANTILE_STEP = 0.1
TOLD, HEARD = 256, 64
"""So many calls at most for that reason, if the quota was told by the user, or heard from the server."""
PACED_SECONDS = 2.0
"""So long after a call had to wait for a quota, the quota is what binds."""
DEAF_LOOKS, DEAF_SECONDS = 3, 60.0
"""After so many looks that found no gauges, the next is so much later."""


class Change(NamedTuple):
    """Something that was learned, and why."""

    at: float
    what: str


class Landed(NamedTuple):
    """The body of a reply with status 200, who sent it, and after how many seconds."""

    body: bytes
    by: "Endpoint"
    seconds: float


class Endpoint:
    """One server and one key.

    Args:
        resend: a call that stalls may be sent again elsewhere, though both may be billed. Without a key it may anyway.

    Attributes:
        url: its base URL, which ends in /v1 or whatever stands for it.
        scrub: takes the key out of a text (wire/scrub.py).
        in_flight: how many calls it is answering for us.
        quota: how many more it may be sent, as far as that was told.
        throttle: the same, as far as its refusals have taught it.
        window: how many it is given at once; None if that is pinned (-j).
        health: whether its last calls found it well.
        exhaustion: whether the key's quota is used up, where a refusal does not say.
        retired: why no more calls go there; None while they do.
        back: called when an outage is over.
        changes: what was learned since somebody last took these away.
        most_take: seconds in which 99 % of the answers come; None as long as there is none.
    """

    def __init__(
        self, url: str, key: Secret | None = None, limits: Limits | None = None, *, resend: bool = False
    ) -> None:
        self.url = openai.base_url(url)
        self.key = key
        self.scrub = scrubber(key)
        self.may_resend = resend or key is None
        self.in_flight = 0
        self.most_take: float | None = None
        self.changes: deque[Change] = deque(maxlen=1000)
        self.quota = Quota(limits or Limits())
        self.throttle = Throttle(self.note)
        self.window: Window | None = None
        self.health = Health(self.note)
        self.exhaustion = Exhaustion()
        self.retired: str | None = None
        self.back: Callable[[], None] = lambda: None
        self.paced_at = -math.inf
        self._learned = False
        self._urls: dict[Api, str] = {api: self.url + path for api, path in openai.PATHS.items()}
        parts = address.parse(self.url)
        self._host = parts.host
        # Only a server of one's own tells its queue to everybody; the key is for the API alone, and is not sent.
        self._gauges = f"{parts.origin}/metrics" if parts.scheme == "http" or key is None else None
        self._dialect: hints.Dialect | None = None
        self._silent = 0
        self._keeps_telling = False  # limits that stand in refusals alone may be made up
        self._listen_at = self._look_at = -math.inf
        self._deaf = 0

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}, {self.in_flight} in flight>"

    def note(self, now: float, what: str) -> None:
        """Something was learned."""
        self.changes.append(Change(now, what))

    @property
    def load(self) -> float:
        """Calls in flight, for each that it can take."""
        return self.in_flight / self.window.size if self.window is not None else self.in_flight

    @property
    def knee(self) -> int | None:
        """How many calls at once serve it best; None as long as that was not found."""
        return self.window.size if self.window is not None and self.window.server_bound else None

    @property
    def is_ours(self) -> bool:
        """Whether it seems to be a server of one's own: it wants no key, and has told of no limits."""
        return self.key is None and self.quota.limits == Limits()

    @property
    def canary_seconds(self) -> float:
        """How long the first few calls go ahead of the others."""
        if is_loopback(self.url):
            return NEAR_CANARY_SECONDS
        hosted = self.key is not None and self.url.startswith("https:")
        return HOSTED_CANARY_SECONDS if hosted else CANARY_SECONDS

    @property
    def charges_most(self) -> bool:
        """Whether a call costs its max_tokens: so it is with OpenAI, and so it is safe where nobody knows."""
        return self._dialect is None or self._dialect.charges_most

    @property
    def may_count_tokens(self) -> bool:
        """Whether it counts them, or may say so yet: hosted ones do, with their first answers."""
        return self.quota.counts_tokens or (self.key is not None and self._silent < SILENT_LOOKS)

    def rests(self, now: float) -> bool:
        """Whether calls should rather go elsewhere."""
        return self.retired is not None or self.health.rests(now)

    def when(self, cost: Cost, now: float) -> float:
        """The earliest moment at which a call may go there; inf if not before another is done."""
        room = self.window.when(self.in_flight, now) if self.window is not None else -math.inf
        if room == math.inf or self.retired is not None:
            return math.inf
        quota, throttle = self.quota.when(cost), self.throttle.when(now)
        if max(quota, throttle) > max(now, room):
            self.paced_at, self._learned = now, throttle > quota
        return max(room, quota, throttle)

    def begin(self, cost: Cost, now: float) -> None:
        """A call goes there, at a moment that `when` allowed."""
        self.in_flight += 1
        self.quota.reserve(cost, now)
        self.throttle.sent(now)
        self.health.sent(now)
        if self.window is not None:
            self.window.sent(self.in_flight, now)

    def trust_quota(self, now: float, most: int) -> None:
        """Let a quota that is known pace the calls from the start, rather than a window that opens by and by.

        Args:
            most: as far as it is trusted: there may be a small server behind a generous quota.
        """
        if self.window is not None and (calls := self.quota.at_once(ANSWER_SECONDS)) < math.inf:
            self.window.paced(min(calls, most), now)

    def unused(self, cost: Cost) -> None:
        """A call that was to go there did not."""
        self.in_flight -= 1
        self.quota.settle(cost, Cost(0.0, 0.0))
        self.throttle.unused()
        self.health.unused()

    def retire(self, why: str) -> None:
        """No more calls go there: the key, or its money, is used up."""
        self.retired = why
        self.note(clock.now(), f"no more calls: {why}")

    async def send(self, transport: Transport, api: Api, body: bytes, timeout: float) -> Landed:
        """Send one attempt.

        Raises:
            TransportError: no whole reply came.
            Refused: another status than 200.
        """
        sent = clock.now()
        try:
            reply = await transport.send(HttpRequest(self._urls[api], body, self.key, timeout))
        except TransportError as error:
            error.args = (f"{self.url}: {error}",)
            self.health.failed(now := clock.now())
            if isinstance(error, TimedOut):
                self._busy(now)
            raise
        if (clean := self.scrub(reply.body, pieces=reply.status != 200)) is not reply.body:  # it goes to the disk
            reply = HttpReply(reply.status, clean, reply.header)
        now = clock.now()
        if reply.status >= 500:
            self.health.failed(now)
        elif reply.status in ITS_OWN_FAULT and self.health.well(sent, now):
            self.back()
        if now >= self._listen_at or reply.status == 429:
            self._listen(reply, now)
        if reply.status != 200:
            raise self._refused(reply, sent, now)
        self.exhaustion.succeeded()
        self._took(now - sent)
        return Landed(reply.body, self, now - sent)

    def _took(self, seconds: float) -> None:
        """A step toward the quantile, from either side as often as it should be crossed (Robbins and Monro, 1951)."""
        if self.most_take is None:
            self.most_take = max(seconds, 0.001)
        else:
            self.most_take *= 1 + QUANTILE_STEP * (0.99 if seconds > self.most_take else -0.01)

    def _busy(self, now: float) -> None:
        if self.window is not None:
            self.window.busy(now)

    def _refused(self, reply: HttpReply, sent: float, now: float) -> Refused:
        code, message = openai.refusal(reply.body)
        if reply.status == 401 and self.key is None:
            message += " (no key was sent: set OPENAI_API_KEY)"
        if 300 <= reply.status < 400:
            where = self.scrub((reply.header("location") or "").encode("utf-8", "replace"), pieces=True).decode()
            message = f"it redirects to {where!r}; give its real address"
        wait = hints.retry_after(reply.header, hints.sent_at(reply.header, clock.wall()))
        refused = Refused(
            f"{self.url} answered {reply.status}: {message or 'no reason given'}",
            status=reply.status,
            code=code,
            retry_after=wait,
            body=reply.body,
        )
        if retry.may_be_throttle(refused):
            self._decide(refused, now)
        if retry.is_throttle(refused):
            wait = None if wait is None else min(wait, retry.LONGEST_HINT_SECONDS)
            refused.of_all = self.throttle.refused(sent, now, wait, known=self.quota.limits != Limits())
        elif reply.status in (503, 529):
            self._busy(now)
        return refused

    def _decide(self, refused: Refused, now: float) -> None:
        """Decide whether a refusal that may be a throttle or a used-up quota is a throttle."""
        refused.is_throttle = self.exhaustion.is_throttle(now)
        if not refused.is_throttle and (seconds := self.exhaustion.seconds(now)) > 0:
            refused.args = (f"{refused} (no call with this key has succeeded for {seconds:.0f} s)",)

    def _listen(self, reply: HttpReply, now: float) -> None:
        """Take up what the reply's headers say of limits."""
        self._listen_at = now + LISTEN_SECONDS
        if self._dialect is None:
            self._dialect = hints.dialect(self._host, reply.header)
            if self._dialect is None:
                self._silent += 1
                return
        told = self._dialect.read(reply.header, hints.sent_at(reply.header, clock.wall()))
        self._keeps_telling = self._keeps_telling or (bool(told) and reply.status != 429)
        if not self._keeps_telling:
            return
        if (change := self.quota.hear(told, now)) is not None:
            self.note(now, change)
            self.trust_quota(now, HEARD)
        if (seconds := hints.until_reset(told)) is not None:
            self.throttle.hold(now + min(seconds, LONGEST_HOLD))

    async def look(self, transport: Transport, model: str) -> None:
        """Read the server's own gauges, if it has any; whatever goes wrong, it is not worth a word."""
        now = clock.now()
        if self.window is None or self._gauges is None or now < self._look_at:
            return
        try:
            reply = await transport.send(HttpRequest(self._gauges, timeout=1.0, method="GET"))
            found = gauges.read(reply.body.decode("utf-8", "replace"), model) if reply.status == 200 else None
        except ManycallError:
            found = None
        now = clock.now()
        if found is not None:
            self._deaf = 0
            self.window.read(found, self.in_flight, now)
            return
        self._deaf += 1
        self.window.deaf(now)
        if self._deaf >= DEAF_LOOKS:
            self._look_at = now + DEAF_SECONDS

    def binds(self, now: float) -> str:
        """What keeps it from doing more: its quota, the window; "" if neither."""
        if self.window is not None and self.in_flight >= FULL * self.window.size:
            return "" if self.knee is None else "server-bound"
        if now - self.paced_at >= PACED_SECONDS:
            return ""
        if not self._learned:
            return f"quota {self.quota.limits}"
        rate = self.throttle.rate
        return "refusals (429)" if rate is None else f"learned quota {60 * rate:.0f} rpm"
