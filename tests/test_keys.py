"""Where keys come from, and where they never go."""

import asyncio
import base64
import copy
import dataclasses
import html
import itertools
import json
import logging
import os
import pickle
import re
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyreqwest.http import Url

import manycall
from fakes import FakeTransport, SoloClient, answer, refusal
from leaks import search
from manycall.cli import argv
from manycall.cli.main import main
from manycall.client.endpoint_config import resolve_endpoints
from manycall.errors import ManycallError, UsageError
from manycall.providers import address
from manycall.providers.redact import make_redactor
from manycall.providers.urls import is_loopback, normalize_base_url
from manycall.records import Secret
from manycall.sim import virtual_time
from manycall.transport.http import HttpTransport
from manycall.transport.messages import HttpRequest, HttpResponse
from servers import Connection, hang_up, http, read_request, reset, saying, serving, silence
from shell import Ended, finish, rows, start
from shell import manycall as command

KEY = "CANARY-4b1d/9e+c7a60f35d2b8"


@pytest.fixture(autouse=True)
def the_real_rules(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manycall.client.endpoint_settings.is_loopback", is_loopback)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def decoded(text: str) -> str:
    """The text with JSON, URL and HTML escapes decoded, also nested ones."""
    for _ in range(4):
        text = re.sub(r"\\+u00(..)", lambda code: chr(int(code[1], 16)), unquote(html.unescape(text)))
    return text


def alike(text: str) -> str:
    """The text without the characters that an encoding, or a cut into several strings, adds to a key."""
    return re.sub(r"[^a-z0-9]", "", decoded(text).lower())


def shown(text: str) -> bool:
    return KEY in text or "4b1d9ec7a60f35d2b8" in alike(text)


# The secret itself


@dataclasses.dataclass
class Holder:
    key: Any


class Packed(msgspec.Struct):
    key: Any


def logged(secret: Secret) -> str:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s %r", (secret, [secret]), None)
    return logging.Formatter().format(record)


@pytest.mark.parametrize(
    "way",
    [
        str, repr, ascii, logged,
        lambda s: f"{s}", lambda s: f"{s!r}", "{}".format, "%s".__mod__, "%r".__mod__,
        lambda s: repr(Holder(s)), lambda s: repr(Packed(s)), lambda s: repr(HttpRequest("http://h", key=s)),
        lambda s: repr(msgspec.structs.asdict(Packed(s))), lambda s: repr(vars(Holder(s))), lambda s: repr(dir(s)),
        lambda s: repr([getattr(s, name) for name in dir(s)]), lambda s: repr(s.__getstate__()),
        lambda s: json.dumps({"key": s}, default=str),
    ],
)  # fmt: skip
def test_a_secret_shows_nothing(way: Callable[[Any], str]) -> None:
    assert not shown(way(Secret(KEY)))


@pytest.mark.parametrize(
    "way",
    [
        pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, msgspec.msgpack.encode,
        lambda s: dataclasses.asdict(Holder(s)), lambda s: msgspec.to_builtins(Packed(s)), lambda s: f"{s:>30}",
        vars, lambda s: s.__reduce_ex__(4), lambda s: pickle.dumps(s, 0),
    ],
)  # fmt: skip
def test_a_secret_cannot_be_written_or_copied(way: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError) as caught:
        way(Secret(KEY))
    assert not shown(str(caught.value))


# Tracebacks that show what every variable held


async def chat(url: str) -> None:
    async with SoloClient("m", base_url=url, api_key=KEY, timeout=0.5) as llm:
        await llm.chat("hi")


async def function(row: Any, llm: Any) -> Any:
    return (await llm.chat("hi")).text


def run_map(url: str) -> None:
    manycall.map(function, [{"a": 1}], model="m", base_url=url, api_key=KEY, out="o.jsonl", progress=False)


def run_generate(url: str) -> None:
    manycall.generate("hi", model="m", base_url=url, api_key=KEY, out="/dev/null/x", progress=False)


def run_evaluate(url: str) -> None:
    manycall.evaluate("wordmath", model="m", base_url=url, api_key=KEY, out="o.jsonl", limit=1, progress=False)


def of_file(text: bytes) -> Callable[[str], None]:
    def run(url: str) -> None:
        Path("endpoints.toml").write_bytes(text.replace(b"@", KEY.encode()))
        resolve_endpoints([])

    return run


ECHO = http(401, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode(), f"www-authenticate: Bearer {KEY}")


@pytest.mark.parametrize(
    ("server", "run"),
    [
        (saying(ECHO), lambda url: asyncio.run(chat(url))),
        (hang_up, lambda url: asyncio.run(asyncio.wait_for(chat(url), 1))),
        (silence, lambda url: asyncio.run(asyncio.wait_for(chat(url), 1))),
        (hang_up, lambda url: asyncio.run(chat("http://127.0.0.1:1"))),
        (hang_up, lambda url: asyncio.run(chat("http://gpu1:8000"))),
        (hang_up, lambda url: SoloClient("", api_key=KEY)),
        (hang_up, lambda url: SoloClient("m", base_url=url, api_key=KEY + "\n")),
        (saying(ECHO), run_map), (saying(ECHO), run_generate), (saying(ECHO), run_evaluate),
        (hang_up, lambda url: run_map("http://gpu1:8000")), (hang_up, lambda url: run_generate("nowhere")),
        (hang_up, lambda url: manycall.generate("", model="m", api_key=KEY, out="o")),
        (hang_up, lambda url: manycall.evaluate("none", model="m", api_key=KEY, out="o")),
        (hang_up, lambda url: manycall.map(len, [], model="m", api_key=KEY, out="o")),  # type: ignore[arg-type]
        (hang_up, lambda url: resolve_endpoints(["http://gpu1"])),
        (hang_up, lambda url: resolve_endpoints(["nowhere"])),
        (hang_up, of_file(b'[[endpoint]]\napi_key = "@"\nbase_url = http')),
        (hang_up, of_file(b'[[endpoint]]\napi_key = "@"\nbase_url = "\xff"')),
        (hang_up, of_file(b'[[endpoint]]\napi_key = "@"')),
        (hang_up, of_file(b'[[endpoint]]\nkey = "@"\nbase_url = "https://h"')),
        (hang_up, of_file(b'[[endpoint]]\napi_key = ["@", 5]\nbase_url = "https://h"')),
        (hang_up, of_file(b'[[endpoint]]\napi_key = "@\xc3\xa4"\nbase_url = "https://h"')),
        (hang_up, of_file(b'[[endpoint]]\napi_key = "@"\nbase_url = "http://h"')),
        (hang_up, of_file(b'[[endpoint]]\napi_key_env = "OPENAI_API_KEY"\nbase_url = "http://h"')),
    ],
)  # fmt: skip
def test_a_traceback_with_all_variables_holds_no_key(server: Connection, run: Callable[[str], None]) -> None:
    with serving(server) as url, pytest.raises((ManycallError, TimeoutError)) as caught:
        run(url)
    for error in chain(caught.value):
        assert not shown(f"{error!r} {error.args} {vars(error)}")
        for frame, line in traceback.walk_tb(error.__traceback__):
            for name, value in frame.f_locals.items():
                assert not shown(safely(repr, value)), f"{name} in {frame.f_code.co_qualname}, line {line}"
                assert not shown(safely(repr, vars(value) if hasattr(value, "__dict__") else None)), name


def safely(show: Callable[[Any], str], value: Any) -> str:
    """As those do it that print what variables hold: something may be half made."""
    try:
        return show(value)
    except Exception as error:
        return repr(error)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, and all that led to it, also those that are not told."""
    seen: list[BaseException] = []
    ahead = [error]
    while ahead:
        if (each := ahead.pop()) is not None and each not in seen:
            seen.append(each)
            ahead += [each.__cause__, each.__context__]
            yield each


# Plain http


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True), ("127.0.0.1:8000", True), ("127.255.0.9", True), ("[::1]:80", True), ("localhost", True),
        ("LOCALHOST:1", True), ("a.localhost", False), ("localhost.", False),
        ("127.0.0.1.evil.com", False), ("localhost.evil.com", False),
        ("notlocalhost", False), ("128.0.0.1", False), ("10.0.0.1", False), ("gpu1", False), ("[::2]", False),
        ("0.0.0.0", False), ("192.168.0.1", False), ("[::ffff:10.0.0.1]", False),
    ],
)  # fmt: skip
def test_loopback_is_this_machine_and_nothing_else(host: str, near: bool) -> None:
    assert is_loopback(f"http://{host}/v1") is near
    if near:
        assert resolve_endpoints([f"http://{host}/v1"])[0].key is not None
    else:
        with pytest.raises(UsageError, match=r"would be sent .* over unencrypted HTTP"):
            resolve_endpoints([f"http://{host}/v1"])
        assert resolve_endpoints([f"http://{host}/v1"], plain_http=True)[0].key is not None
        assert resolve_endpoints([f"http://{host}/v1"], Secret(""))[0].key is None
    assert resolve_endpoints([f"https://{host}/v1"])[0].key is not None


AMBIGUOUS = [
    r"http://192.0.2.2\.localhost/v1", r"http://localhost\@192.0.2.2/v1", r"http://192.0.2.2\localhost",
    r"http:\\192.0.2.2",
    "http://2130706433/v1", "http://127.1/v1", "http://0x7f000001/v1", "http://0x7f.1", "http://017700000001",
    "http://0177.0.0.1", "http://127.0.0.1.", "http://a.1", "http://1.2.3.4.5", "http://127.0.0.256", "http://a.0x",
    "http://localhost:0/v1", "http://localhost:/v1", "http://localhost:+80", "http://localhost:8e1", "http://localhost:65536",
    "http://localhost:80:80", "http://localhost:\u0668\u0660",
    "http://[fe80::1%25eth0]/v1", "http://[fe80::1%eth0]/v1", "http://[::1", "http://[::1]a", "http://::1/v1", "http://[v1.a]",
    "http://%6cocalhost/v1", "http://localhost%2f.evil.com", "http://evil.com%00.localhost", "http://\u24db\u24de\u24d2\u24d0l",
    "http://localhost\u3002evil.com", "http://b\u00fccher.example", "http://\uff11\uff12\uff17.0.0.1",
    "http://local host", " http://localhost", "http://localhost\t/v1", "http://local\nhost", "http://localhost\u00a0",
    "http://localhost\u200b.evil.com", "http://a..b", "http://.localhost", "http://a,b", "http://a|b",
    "http://" + "a" * 64,
    "http:localhost", "http:/localhost", "http:///localhost", "//localhost", "https//localhost", "ws://localhost",
]  # fmt: skip


@pytest.mark.parametrize("url", AMBIGUOUS)
def test_a_url_that_parsers_may_read_in_different_ways_is_refused(url: str) -> None:
    assert not is_loopback(url)
    for key in (None, Secret("")):
        with pytest.raises(UsageError) as caught:
            resolve_endpoints([url], key, plain_http=True)
        assert str(caught.value).isprintable()
        assert str(caught.value).startswith("base_url=")


HOSTS = st.one_of(
    st.sampled_from(
        ["localhost", "127.0.0.1", "[::1]", "192.0.2.2", "evil.com", "xn--bcher-kva.example", "[::ffff:10.0.0.1]"]
    ),
    st.text("alocxn127.0:[]%@/\\-_#?\t é。１", max_size=12),
    st.ip_addresses().map(lambda ip: f"[{ip}]" if ip.version == 6 else str(ip)),
)
URLS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["http://", "https://", "HTTP://", "http:/", "http:\\\\", " http://", "http:///"]),
        HOSTS,
        st.sampled_from(["", "\\", "@", "%2f", ".", ":", ":80", "\t", "#", "/", "?"]),
        HOSTS | st.just(""),
        st.sampled_from(["", ":8000", ":080", ":0", ":x", ":443"]),
        st.sampled_from(["", "/v1", "/v1/../..", "/a b", "/\\evil.com/", "//evil.com", "/v1@evil.com"]),
    ),
)


@given(URLS)
@settings(max_examples=3000)
def test_the_host_that_is_checked_is_the_host_that_the_http_library_connects_to(url: str) -> None:
    try:
        accepted = normalize_base_url(url)
    except UsageError:
        assert not is_loopback(url)
        return
    ours = address.parse(accepted)
    try:
        theirs = Url(accepted)
    except ValueError:  # an xn-- name that is none: the library makes no request of it
        assert "xn--" in accepted
        return
    assert theirs.host_str is not None
    assert (ours.scheme, as_host(ours.host)) == (theirs.scheme, as_host(theirs.host_str))
    assert (ours.port or {"http": 80, "https": 443}[ours.scheme]) == theirs.port_or_known_default
    assert (theirs.username, theirs.password, theirs.fragment) == ("", None, None)
    host = as_host(theirs.host_str)
    assert is_loopback(accepted) is (host == "localhost" if isinstance(host, str) else host.is_loopback)


def as_host(host: str) -> str | IPv4Address | IPv6Address:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return host


def test_a_request_is_not_sent_if_the_http_library_would_connect_to_another_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("manycall.transport.http_library.Url", lambda url: Url("http://192.0.2.2/v1"))

    async def send() -> None:
        transport = HttpTransport()
        try:
            await transport.send(HttpRequest("https://127.0.0.1:1/differs", key=Secret(KEY)))
        finally:
            await transport.close()

    with pytest.raises(UsageError, match=r"names the host 127.0.0.1, but the HTTP library would connect to 192.0.2.2"):
        asyncio.run(send())


def test_one_of_several_over_plain_http_is_refused_too() -> None:
    with pytest.raises(UsageError, match="sent to http://gpu1/v1 over unencrypted HTTP"):
        resolve_endpoints(["https://a", "http://gpu1"])


@pytest.mark.parametrize(
    ("entry", "allowed"),
    [
        ('base_url = "http://gpu1"', True),
        ('base_url = "http://gpu1"\napi_key = "k"', False),
        ('base_url = "http://gpu1"\napi_key = "k"\nplain_http = true', True),
        ('base_url = "http://gpu1"\napi_key = "k"\nplain_http = false', False),
        ('base_url = "https://gpu1"\napi_key = "k"', True),
        ('base_url = "http://127.0.0.1"\napi_key = "k"', True),
    ],
)
def test_an_endpoint_in_the_file_says_for_itself_whether_plain_http_will_do(entry: str, allowed: bool) -> None:
    Path("endpoints.toml").write_text(f"[[endpoint]]\n{entry}\n")
    if allowed:
        resolve_endpoints([])
    else:
        with pytest.raises(
            UsageError, match=r"endpoints.toml, endpoint 1\) would be sent.* plain_http = true in the file"
        ):
            resolve_endpoints([])
        resolve_endpoints([], plain_http=True)


GENERATE = ("generate", "-p", "Tell a story.", "-m", "any", "-n", "3", "-o", "o.jsonl")


def test_a_key_for_another_server_is_refused_in_one_sentence_with_solutions() -> None:
    url = "http://gpu1.invalid:8000/v1"
    done = command(*GENERATE, "-u", url)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    for way in (url, "https", "unset OPENAI_API_KEY", "--plain-http"):
        assert way in done.err
    assert not Path("o.jsonl").exists()
    # each of the ways gets as far as the network
    for more, env in ((("--plain-http",), {}), ((), {"OPENAI_API_KEY": ""})):
        assert "connection failed" in command(*GENERATE, *more, "-u", url, env=env).err


@pytest.mark.parametrize(
    "bad",
    [
        ("--api-key", "hunter2-hunter2"), ("--api-key=hunter2-hunter2",), ("--api_key", "hunter2-hunter2"),
        ("--param", "api_key=hunter2-hunter2"), ("--param", "key=hunter2-hunter2"),
        ("--param", "api_key hunter2-hunter2"), ("-p", "Bearer hunter2-hunter2-hunter2"),
        ("--param", "Authorization=Bearer hunter2-hunter2"), ("--param", 'extra_headers={"a":"hunter2-hunter2"}'),
        ("--param", f"user={KEY}"), ("-m", KEY), ("-u", f"http://127.0.0.1:1/{KEY}"),
        ("-u", "http://me:hunter2-hunter2@h/v1"), ("-u", "http://h/v1?key=hunter2-hunter2"),
        ("-u", "http:/h?hunter2-hunter2"),
        ("-u", "http://h/v1#hunter2-hunter2"), ("-p", "sk-proj-hunter2-hunter2-hunter2"), ("-u", "sk-hunter2-hunter2"),
    ],
)  # fmt: skip
def test_a_key_in_the_command_is_refused_and_not_repeated(bad: tuple[str, ...]) -> None:
    done = command(*GENERATE, "-u", "http://127.0.0.1:1/v1", *bad) if "-u" not in bad else command(*GENERATE, *bad)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "hunter2" not in done.err
    assert not shown(done.err)
    assert not Path("o.jsonl").exists()


@pytest.mark.parametrize(
    "innocent",
    [
        "Explain sk-learn and scikit-learn, in 2024", "risk-averse investors of the 20th century", "task-2024",
        "What is a bearer bond worth in 1929?", "sim:answer_key=wordmath", "--answer-key", "prompt_cache_key=a",
        "pk-fire.txt",
        "讲一个故事\n第二行\t", "gpt-5-mini", "Bearer of bad news, extraordinarily-long-word-without-number",
    ],
)  # fmt: skip
def test_what_only_looks_a_little_like_a_key_is_let_through(innocent: str) -> None:
    argv.check([innocent])


# On the wire


class Witness:
    """A server that notes the head of each request, and answers with these bytes.

    Attributes:
        heads: what came, in lower case.
    """

    def __init__(self, reply: bytes) -> None:
        self.heads: list[bytes] = []
        self._reply = reply

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await read_request(reader)
        self.heads.append(head.lower())
        writer.write(self._reply)
        await writer.drain()


def has_key(head: bytes) -> bool:
    return KEY.lower().encode() in head


GOOD = http(200, answer().body)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("same_host", [True, False])
def test_no_redirect_carries_the_key_anywhere(status: int, same_host: bool) -> None:
    other = Witness(GOOD)
    with serving(other) as there:
        place = "/v1/elsewhere" if same_host else f"{there}/chat/completions"
        first = Witness(http(status, b"", f"location: {place}"))
        with serving(first) as here:
            done = command(*GENERATE, "-u", here, "-j", "1")
    assert done.code == 4
    assert f"returned status {status}: the URL redirects to '{place}'" in done.err
    assert [has_key(head) for head in first.heads] == [True]
    assert not other.heads


def test_the_look_at_the_gauges_carries_no_key() -> None:
    seen = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await read_request(reader)
        seen.append(head.lower())
        if head.startswith(b"POST"):
            await asyncio.sleep(1.5)
        writer.write(GOOD if head.startswith(b"POST") else http(404, b""))
        await writer.drain()

    with serving(slow) as url:
        assert command(*GENERATE, "-u", url).code == 0
    looks = [head for head in seen if head.startswith(b"get /metrics")]
    assert looks
    assert not any(map(has_key, looks))
    assert all(map(has_key, (head for head in seen if head.startswith(b"post"))))


@pytest.mark.parametrize(
    ("url", "more", "told"),
    [
        ("http://far.invalid/v1", ("--plain-http",), True),  # as the page on keys says
        ("http://far.invalid/v1", (), None),
        ("https://far.invalid/v1", (), False),
        ("http://127.0.0.2:1/v1", (), None),
    ],
)
def test_a_proxy_sees_the_key_only_where_plain_http_was_allowed(
    url: str, more: tuple[str, ...], told: bool | None
) -> None:
    proxy = Witness(http(403, b"no"))
    with serving(proxy) as at:
        at = at.removesuffix("/v1")
        env = {"HTTP_PROXY": at, "http_proxy": at, "HTTPS_PROXY": at, "https_proxy": at, "NO_PROXY": "", "no_proxy": ""}
        command(*GENERATE, *more, "-u", url, "-j", "1", env=env)
    assert {has_key(head) for head in proxy.heads} == (set() if told is None else {told})


# What servers say


def escape(form: str, key: str) -> str:
    return "".join(form % ord(character) for character in key)


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "JSON, with every sign escaped": lambda key: re.sub(r"\W", lambda c: f"\\u{ord(c[0]):04X}", key),
    "JSON in JSON": lambda key: json.dumps(json.dumps(key).replace("/", "\\/")),
    "a URL": lambda key: quote(key, safe=""),
    "a URL, in small letters": lambda key: re.sub("%..", lambda code: code[0].lower(), quote_plus(key)),
    "HTML": lambda key: html.escape(key).replace("/", "&#x2F;").replace("+", "&#43;"),
    "base64 of the header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of user and password": lambda key: base64.b64encode(f"me:{key}".encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(f":{key}!".encode()).decode(),
    "JSON, with every character escaped": lambda key: escape(r"\u%04x", key),
    "JSON, with one letter escaped, in capitals": lambda key: f"\\u00{ord(key[0]):02X}{json.dumps(key[1:])[1:-1]}",
    "JSON in JSON, with every character escaped": lambda key: escape(r"\\u%04x", key),
    "JSON in JSON, with its backslash escaped": lambda key: escape(r"\u005cu%04x", key),
    "JSON four deep": lambda key: escape(r"\\\\\\\u%04x", key),
    "HTML in JSON, with its ampersand escaped": lambda key: escape(r"\u0026#%d;", key),
    "a URL, with every character escaped": lambda key: escape("%%%02x", key),
    "a URL in a URL": lambda key: quote(escape("%%%02X", key)),
    "HTML, with every character escaped": lambda key: escape("&#%d;", key),
    "HTML, in hexadecimal": lambda key: escape("&#x%04X;", key),
    "HTML in HTML": lambda key: html.escape(escape("&#%d;", key)),
    "HTML, by names": lambda key: (
        html.escape(key).replace("/", "&sol;").replace("+", "&plus;").replace("_", "&lowbar;")
    ),
    "base64, as JSON escapes it": lambda key: (
        base64.b64encode(f"??>{key}???>".encode()).decode().replace("/", "\\/").replace("+", r"\u002b")
    ),
    "twice": lambda key: f"{key} {key}",
    "within a word": lambda key: f"x{key}y",
}
PIECES: dict[str, Callable[[str], str]] = {
    "half masked": lambda key: key[:14] + "*" * (len(key) - 14),
    "masked in the middle": lambda key: key[:12] + "..." + key[-9:],
    "over two lines": lambda key: key[:13] + "\n" + key[13:],
}
KEYS = [KEY, "sk-proj-Ab3_dE6gH9-jK2mN5pQ8rT1", "a1b2c3d4", "x" * 9 + '"&<9>\\', "Zm9v.YmFy.cXV4MTIzNDU2Nzg5"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_taken_out_of_a_text_in_every_form(key: str, form: str) -> None:
    said = FORMS[form](key)
    text = make_redactor(Secret(key))(f'{{"before": "{said}", "after": 1}}'.encode()).decode()
    assert said not in text
    assert "***" in text
    assert text.startswith('{"before": "')
    assert text.endswith('", "after": 1}')
    longest = max(re.findall("[A-Za-z0-9]+", key), key=len)
    assert longest not in decoded(text)


@pytest.mark.parametrize("form", [form for form in FORMS if "JSON," in form or "deep" in form])
@pytest.mark.parametrize("key", KEYS)
def test_a_json_reply_is_json_after_the_key_is_redacted(key: str, form: str) -> None:
    said = FORMS[form](key)
    reply = f'{{"id": "\\n\\"\\\\", "text": "a{said}b{said}", "x": "\\u00e9"}}'.encode()
    json.loads(reply)
    assert json.loads(make_redactor(Secret(key))(reply)) == {"id": '\n"\\', "text": "a***b***", "x": "é"}


def in_parts(*pieces: str) -> bytes:
    """A reply whose content is a list of parts."""
    parts = [{"type": "text", "text": piece, "annotations": [{"type": "x"}]} for piece in pieces]
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": parts}}], "x": 1.50}).encode()


def in_deltas(*pieces: str) -> bytes:
    """A stream of events."""
    deltas = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    return "".join(f"data: {json.dumps(delta)}\n\n" for delta in deltas).encode()


def assembled(reply: bytes) -> str:
    return "".join(re.findall(r'"(?:text|content)": "(.*?)"[,}]', reply.decode()))


@pytest.mark.parametrize("reply", [in_parts, in_deltas])
@pytest.mark.parametrize("key", KEYS[:3])
def test_a_key_that_is_cut_into_several_strings_is_redacted_wherever_the_cuts_are(
    key: str, reply: Callable[..., bytes]
) -> None:
    scrub = make_redactor(Secret(key))
    cuts = [*([at] for at in range(1, len(key))), range(1, len(key)), [1, 1, len(key) - 1]]
    for cut in cuts:
        pieces = [key[start:end] for start, end in itertools.pairwise([0, *cut, len(key)])]
        clean = scrub(reply("before ", "A" + pieces[0], *pieces[1:-1], pieces[-1] + "Z", " after"))
        assert assembled(clean) == "before A***Z after"
    escaped = reply("before A", key[:3], "@", "Z after").replace(b"@", escape(r"\u%04x", key[3:]).encode())
    assert assembled(scrub(escaped)) == "before A***Z after"
    renamed = reply("before A", key[:3], key[3:], "Z after").replace(b'"content"', rb'"c\u006fntent"')
    assert assembled(scrub(renamed)) == "before A***Z after"


@pytest.mark.parametrize(
    "reply",
    [
        in_parts("CANARY-", "4b1d", "/9e+ and", "c7a60f3"),
        in_deltas("CANARY-", "4b1d/9", "c7a6", "0f35d2b9"),
        rb'{"content": "\u0043ANARY %41 &#x41; &amp;amp; \u4f60 \u00e9 \u005c\u0022 \\\\u0043 &lt; %25 \u0026 &zz;"}',
        '{"content": "\u00e9t\u00e9 %E4%BD"}'.encode(),
        b"<html>&#67;&#65;</html>",
        b"",
    ],
)
def test_a_reply_without_the_key_stays_the_same_byte_for_byte(reply: bytes) -> None:
    scrub = make_redactor(Secret(KEY))
    assert scrub(reply) is reply
    assert scrub(reply, fragments=True) is reply


@pytest.mark.parametrize("character", [b"\\", b"&amp;", b"%25", b'"', b'"a":"', b"\\u005c", b"0"])
def test_no_reply_takes_long_to_search(character: bytes) -> None:
    reply = b"&#" + character * ((1 << 20) // len(character))
    began = time.process_time()
    assert make_redactor(Secret(KEY))(reply) is reply
    assert time.process_time() - began < 10


@pytest.mark.parametrize("form", PIECES)
@pytest.mark.parametrize("key", KEYS[:2])
def test_pieces_of_a_key_are_taken_out_of_errors(key: str, form: str) -> None:
    text = make_redactor(Secret(key))(
        f"Incorrect key {PIECES[form](key)}. See the manual".encode(), fragments=True
    ).decode()
    assert not any(key[n : n + 8] in text for n in range(len(key) - 7))
    assert text.endswith(". See the manual")


@pytest.mark.parametrize("key", ["EMPTY", "x", "none", "not-needed", "lm-studio", "ollama", "sk-no-key-required", "1"])
def test_a_placeholder_key_does_not_mangle_answers(key: str) -> None:
    text = f"The EMPTY box is not-needed; none of 1 {key} here. {base64.b64encode(key.encode()).decode()}".encode()
    assert make_redactor(Secret(key))(text, fragments=True) is text


def test_a_text_without_the_key_is_not_even_copied() -> None:
    text = json.dumps({"choices": ["a story of CANARY-4b1d, 9e and c7a60f35"]}).encode()
    assert make_redactor(Secret(KEY))(text) is text
    assert make_redactor(None)(text) is text


@pytest.mark.parametrize("form", [*FORMS, *PIECES])
def test_a_servers_error_is_shown_without_the_key_in_any_form(form: str) -> None:
    said = {**FORMS, **PIECES}[form](KEY)

    def handler(body: dict[str, Any]) -> HttpResponse:
        text = body["messages"][-1]["content"]
        location = {"location": f"https://h/?{said}"} if text == "redirect" else {}
        status = {"redirect": 307, "html": 400, "json": 400}[text]
        page = HttpResponse(status, f"<html><p>{said}</p></html>".encode(), no_header)
        return page if text == "html" else refusal(status, said, said, location)

    async def main() -> None:
        async with SoloClient("m", base_url="https://h", transport=FakeTransport(handler)) as llm:
            for text in ("json", "html", "redirect"):
                with pytest.raises(ManycallError) as caught:
                    await llm.chat(text)
                for error in chain(caught.value):
                    assert said not in f"{error} {error.args} {vars(error)}"
                    assert not shown(f"{error} {error.args} {vars(error)}")

    virtual_time.run_virtual(main())


def no_header(name: str) -> None:
    pass


# Every way a call can end, with the key in the environment, and then a search of all that was written


def echo(status: int, wrap: str = '{{"error": {{"message": "{}", "code": "{}"}}}}') -> Connection:
    said = " ".join(form(KEY) for name, form in FORMS.items() if "JSON" not in name)
    body = wrap.format(said + " " + json.dumps(KEY)[1:-1].replace("/", "\\/"), KEY).encode()
    return saying(http(status, body, f"www-authenticate: Bearer {KEY}", f"x-ratelimit-limit-requests: {KEY}"))


RAISES = """
import os
async def f(row, llm):
    answer = await llm.chat("hi")
    things = [llm, llm._client, llm._client.pool, *llm._client.pool.endpoints]
    raise ValueError(f"{things!r} {[vars(each) for each in things]} {answer}")
"""
CHOICE = '{{"choices": [{{"message": {{"content": "your key is {}"}}, "finish_reason": "stop"}}], "x": "{}"}}'
BAD = b'{"error": {"message": "%s"}}'
PATHS: dict[str, tuple[Connection, str, int]] = {
    "401 that echoes it": (echo(401), "returned status 401", 4),
    "403": (echo(403), "returned status 403", 4),
    "404": (echo(404), "returned status 404", 4),
    "400": (echo(400), "returned status 400", 3),
    "402, and no money": (echo(402, '{{"error": {{"message": "{}", "code": "x"}}, "x": "{}"}}'), "402", 4),
    "500": (echo(500), "returned status 500", 3),
    "400 that escapes every letter": (
        saying(http(400, BAD % escape(r"\u%04x", KEY).encode())),
        "returned status 400: ***",
        3,
    ),
    "400 with a part of it, escaped": (saying(http(400, BAD % escape(r"\u%04x", KEY[:14]).encode())), "400: ***", 3),
    "200 with an answer that escapes every letter": (
        saying(http(200, CHOICE.replace("{}", escape(r"\u%04x", KEY)).format().encode())), "3 done", 0
    ),
    "200 with an answer in parts": (saying(http(200, in_parts("key ", KEY[:9], KEY[9:]))), "3 done", 0),
    "200 with a stream of events": (saying(http(200, in_deltas(KEY[:9], KEY[9:]))), "an event stream", 3),
    "an HTML page": (echo(400, "<html><b>{}</b>{}</html>"), "<html>", 3),
    "200 with an answer that holds it": (echo(200, CHOICE), "3 done", 0),
    "200 with an error inside": (echo(200), "", 3),
    "200 and no JSON": (echo(200, "{} {}"), "", 3),
    "a connection that is lost": (reset, "the connection was lost", 3),
    "silence": (silence, "no complete response within", 3),
    "half a reply": (saying(f"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{KEY}".encode()), "ended early", 3),
    "no HTTP": (saying(f"{KEY} {KEY}\r\n\r\n".encode()), "could not be read", 3),
}  # fmt: skip


@contextmanager
def everything_searched(tmp_path: Path, said: list[str]) -> Iterator[None]:
    """Afterwards no file, and nothing of what was said, holds the key."""
    yield
    result = search([tmp_path], KEY)
    assert result.files > 3
    assert result.found == []
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or not shown(path.read_text(errors="replace")), path
    assert not any(map(shown, said))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs a command in this process, where nobody waits before calling again."""
    monkeypatch.setattr("manycall.control.retry.backoff_seconds", lambda *_: 0.001)

    def run(*given: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["manycall", *given])
        with pytest.raises(SystemExit) as caught:
            main()
        return Ended(int(caught.value.code or 0), *capfd.readouterr())

    return run


@pytest.mark.parametrize("path", PATHS)
def test_after_any_failure_the_key_is_in_no_file_and_on_no_screen(
    path: str, tmp_path: Path, here: Callable[..., Ended]
) -> None:
    server, told, code = PATHS[path]
    said: list[str] = []
    with everything_searched(tmp_path, said), serving(server) as url:
        done = here(*GENERATE, "-u", url, "-j", "3", "--timeout", "0.5")
        said += [done.out, done.err]
        assert told in done.out + done.err
        assert done.code == code


async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(http(400, b"what?"))


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/v1", "https://127.0.0.1:{}/v1", "https://nosuch.invalid/v1"])
def test_a_server_that_is_missing_or_has_no_tls_is_reported_without_the_key(
    address: str, tmp_path: Path, here: Callable[..., Ended]
) -> None:
    said: list[str] = []
    with everything_searched(tmp_path, said), serving(no_tls) as url:
        done = here(*GENERATE, "-u", address.format(re.findall(r"\d+", url)[4]))
        said += [done.out, done.err]
        assert (done.code, "connection failed" in done.err) == (4, True)


def test_a_row_function_that_returns_all_it_can_see_does_not_return_the_key(tmp_path: Path) -> None:
    Path("f.py").write_text(RAISES)
    Path("in.jsonl").write_text('{"q": 1}\n')
    said: list[str] = []
    with everything_searched(tmp_path, said), serving(echo(200, CHOICE)) as url:
        done = command("run", "f.py:f", "in.jsonl", "-u", url, "-m", "any", "-o", "o.jsonl")
        said += [done.out, done.err]
        assert done.code == 3
        (failure,) = rows(Path("o.jsonl.run/failures.jsonl"))
        assert "Secret(***)" in failure["error"]
        assert "your key is ***" in failure["last_text"]


def test_ctrl_c_leaves_no_key_behind(tmp_path: Path) -> None:
    said: list[str] = []
    with everything_searched(tmp_path, said), serving(silence) as url:
        process = start(*GENERATE, "-u", url)
        while not Path("o.jsonl.run/timeline.jsonl").exists() or not Path("o.jsonl.run/timeline.jsonl").stat().st_size:
            assert process.poll() is None
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said += [process.stderr.readline(), process.stderr.readline()]
        process.send_signal(signal.SIGINT)
        done = finish(process)
        said += [done.out, done.err]
        assert done.code == 130
