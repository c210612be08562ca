"""Endpoints: where the calls go, and with which key.

From `-u` (several are one pool), else OPENAI_BASE_URL, else endpoints.toml, else OpenAI itself if there is a key.
Keys come from OPENAI_API_KEY or endpoints.toml, never from the command line.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall import clock
from manycall.control import hints, retry
from manycall.control.health import Health
from manycall.control.quota import Cost, Limits, Quota
from manycall.control.throttle import Throttle
from manycall.errors import Refused, TransportError, UsageError
from manycall.records import Api, Secret
from manycall.wire import openai
from manycall.wire.transport import HttpReply, HttpRequest, Transport

OPENAI_URL = "https://api.openai.com/v1"
FILE = "endpoints.toml"

NO_ENDPOINT = (
    "no endpoint: give one with -u http://host:8000/v1 (or OPENAI_BASE_URL), set OPENAI_API_KEY for OpenAI, "
    "list some in endpoints.toml, or practise on the built-in one with -u sim"
)


class Endpoint:
    """One server and one key.

    Attributes:
        url: its base URL, which ends in /v1 or whatever stands for it.
        in_flight: how many calls it is answering for us.
        quota: how many more it may be sent, as far as that was told.
        throttle: the same, as far as its refusals have taught it.
        health: whether its last calls found it well.
    """

    def __init__(self, url: str, key: Secret | None = None, limits: Limits | None = None) -> None:
        self.url = openai.base_url(url)
        self.key = key
        self.in_flight = 0
        self.quota = Quota(limits or Limits())
        self.throttle = Throttle()
        self.health = Health()
        self._urls: dict[Api, str] = {api: self.url + path for api, path in openai.PATHS.items()}

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}, {self.in_flight} in flight>"

    def when(self, cost: Cost, now: float) -> float:
        """The earliest moment at which a call may go there."""
        return max(self.quota.when(cost), self.throttle.when(now))

    def begin(self, cost: Cost, now: float) -> None:
        """A call goes there, at a moment that `when` allowed."""
        self.in_flight += 1
        self.quota.reserve(cost, now)
        self.throttle.sent(now)

    async def send(self, transport: Transport, api: Api, body: bytes, timeout: float) -> HttpReply:
        """Send one attempt; return a reply with status 200.

        Raises:
            TransportError: no whole reply came.
            Refused: another status than 200.
        """
        sent = clock.now()
        try:
            reply = await transport.send(HttpRequest(self._urls[api], body, self.key, timeout))
        except TransportError as error:
            error.args = (f"{self.url}: {error}",)
            self.health.failed(clock.now())
            raise
        if reply.status >= 500:
            self.health.failed(clock.now())
        else:
            self.health.well()
        if self.key is not None and (secret := self.key.reveal().encode()) in reply.body:
            reply = HttpReply(reply.status, reply.body.replace(secret, b"***"), reply.header)  # it goes to the disk
        if reply.status != 200:
            raise self._refused(reply, sent)
        return reply

    def _refused(self, reply: HttpReply, sent: float) -> Refused:
        code, message = openai.refusal(reply.body)
        if reply.status == 401 and self.key is None:
            message += " (no key was sent: set OPENAI_API_KEY)"
        if 300 <= reply.status < 400:
            message = f"it redirects to {reply.header('location')!r}; give its real address"
        wait = hints.retry_after(reply.header, clock.wall())
        if reply.status == 429:
            self.throttle.refused(sent, clock.now(), None if wait is None else min(wait, retry.LONGEST_HINT_SECONDS))
        return Refused(
            f"{self.url} answered {reply.status}: {message or 'no reason given'}",
            status=reply.status,
            code=code,
            retry_after=wait,
            body=reply.body,
        )


def resolve(
    urls: Sequence[str], api_key: str | None = None, environ: Mapping[str, str] = os.environ, folder: Path | None = None
) -> list[Endpoint]:
    """The endpoints to use.

    Args:
        urls: what `-u` gave; not "sim", which the caller has replaced by a real address.
        api_key: a key given in Python; otherwise OPENAI_API_KEY.

    Raises:
        UsageError: there is none; the sentence names the ways out.
    """
    given = api_key or environ.get("OPENAI_API_KEY", "").strip()
    key = _secret(given, "OPENAI_API_KEY") if given else None
    if not urls and environ.get("OPENAI_BASE_URL"):
        urls = [environ["OPENAI_BASE_URL"]]
    if urls:
        endpoints = [Endpoint(url, key) for url in urls]
        if key is None and any(endpoint.url == OPENAI_URL for endpoint in endpoints):
            raise UsageError(f"{OPENAI_URL} needs a key: set OPENAI_API_KEY")
        return endpoints
    path = (folder or Path()) / FILE
    if path.exists():
        return _from_file(path, environ)
    if key is None:
        raise UsageError(NO_ENDPOINT)
    return [Endpoint(OPENAI_URL, key)]


def _from_file(path: Path, environ: Mapping[str, str]) -> list[Endpoint]:
    """[[endpoint]] tables, each with `url` and perhaps `key_env` (the name of a variable) or `key`, and limits."""
    try:
        entries: Any = tomllib.loads(path.read_text(encoding="utf-8")).get("endpoint")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise UsageError(f'{path} lists no endpoint: write [[endpoint]] and under it url = "http://host:8000/v1"')
    return [_from_entry(path, number, entry, environ) for number, entry in enumerate(entries, 1)]


def _from_entry(path: Path, number: int, entry: Any, environ: Mapping[str, str]) -> Endpoint:
    where = f"{path}, endpoint {number}"
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise UsageError(f"{where} has no url")
    if unknown := entry.keys() - {"url", "key", "key_env", *Limits.__struct_fields__}:
        raise UsageError(f"{where} has {min(unknown)!r}; it may have url, key, key_env, rpm, tpm, rpd, tpd")
    given = {name: entry[name] for name in Limits.__struct_fields__ if name in entry}
    for limit, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UsageError(f"{where}: {limit} must be a number above 0, not {value!r}")
    key = entry.get("key")
    if name := entry.get("key_env"):
        key = environ.get(str(name))
        if not key:
            raise UsageError(f"{where} takes its key from {name}, which is not set")
    return Endpoint(entry["url"], _secret(str(key), where) if key else None, Limits(**given))


def _secret(value: str, where: str) -> Secret:
    if not value.isascii() or not value.isprintable():
        raise UsageError(f"{where}: the key holds a character that cannot be sent (a line break, perhaps)")
    return Secret(value)
