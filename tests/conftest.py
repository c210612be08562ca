"""What every test starts from: no key, no endpoint, a folder of its own.

With `--answer-key CANARY-...` every test has that key in OPENAI_API_KEY instead, and at the end the session fails if it
stands in any file that a test left, or in anything that a test printed (see leaks.py).
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from leaks import Search, holds, search
from manycall.providers.urls import is_loopback

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a command starts a quarter of a second faster with cached bytecode
settings.register_profile("here", deadline=None)  # a busy machine is not a failed test
settings.load_profile("here")

GSM8K = Path(os.environ.get("MANYCALL_GSM8K") or Path(__file__).parents[1] / "data" / "gsm8k").absolute()
ENVIRONMENT = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A user's own keys and endpoints must not leak into a test, nor a test's cache into theirs."""
    for name in os.environ.keys() & ENVIRONMENT:
        monkeypatch.delenv(name)
    if key := request.config.getoption("--answer-key"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        # The tests' hosts are this machine, or made up; that keys stay off plain http is for test_keys.py to show.
        monkeypatch.setattr("manycall.client.endpoint_settings.is_loopback", lambda url: True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def children() -> set[int]:
    """The processes that this one has begun and not yet reaped; none where there is no /proc."""
    found: set[int] = set()
    for each in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended meanwhile
            found.update(map(int, each.read_text().split()))
    return found


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Kill what a test has begun and, because it failed, not ended."""
    before = children()
    yield
    for pid in children() - before:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def no_key(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of self-hosted servers, of a missing key, and of keys that are not sent over plain http."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("manycall.client.endpoint_settings.is_loopback", is_loopback)


@pytest.fixture
def gsm8k() -> Path:
    """The folder with the real GSM8K: $MANYCALL_GSM8K, or data/gsm8k, which `make gsm8k` makes."""
    if not (GSM8K / "test.jsonl").exists():
        pytest.skip(f"no GSM8K in {GSM8K}: run `make gsm8k`, or set MANYCALL_GSM8K=FOLDER")
    return GSM8K


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--answer-key", default="", help="Give every test this key, and fail if it gets out.")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: None)  # a child would inherit SIG_IGN (nohup, `&`), but not a handler
    if key := config.getoption("--answer-key"):
        config.pluginmanager.register(Canary(key))


class Canary:
    """Listens to what the tests say, and at the end looks through what they left."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._said = 0
        self._told_by: list[str] = []
        self._left = Search(0, 0, [])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = "\n".join([report.longreprtext, *(text for _, text in report.sections)]).encode("utf-8", "replace")
        self._said += len(said)
        if holds(said, self._key):
            self._told_by.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
        self._left = search([factory.getbasetemp()], self._key)
        if self._told_by or self._left.found:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("the key")
        terminalreporter.line(f"left: {self._left}")
        terminalreporter.line(f"said: {self._said:,} bytes, the key by {len(self._told_by)} tests {self._told_by}")
