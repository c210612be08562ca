"""A browser for tests of the page: Debian's Chromium, driven by Playwright, with the page's files and fixture replies.

Every request is answered here, so no server runs and a request to any other place is a failure.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from manycall.view.access import SECURITY_HEADERS
from manycall.view.static_files import page_files, static_replies
from view_fixtures import NOW, FixtureApi

ORIGIN = "http://127.0.0.1:8398"
TOKEN = "t" * 43
REQUIRED = "MANYCALL_BROWSER_TESTS"
"""CI sets this variable to "required": then a missing browser is a failure, not a skipped test."""
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SET_HIDDEN = """hidden => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
"""Hides the page, or shows it again: a browser without a window shows all tabs."""


def need_browser() -> str:
    """Return the path of Chromium; skip, or fail in CI, if it or Playwright is missing."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    missing = "" if path else "Chromium is not installed (Debian: apt-get install chromium)."
    try:
        import playwright  # noqa: F401
    except ImportError:
        missing = "Playwright is not installed: pip install 'manycall[browser]'."
    if missing and os.environ.get(REQUIRED) == "required":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    assert path
    return path


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium without a window."""
    path = need_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()


class Tab:
    """One page over fixture replies. `faults` are errors of the console and requests to other places."""

    def __init__(self, chromium: Any, api: FixtureApi | None = None, **options: Any) -> None:
        self.api = api or FixtureApi()
        self.faults: list[str] = []
        self._statics = static_replies(page_files())
        options = {"locale": "en-GB", "timezone_id": "UTC", "viewport": {"width": 1280, "height": 800}, **options}
        self.context = chromium.new_context(**options)
        self.context.route("**/*", self._answer)
        self.page = self.context.new_page()
        self.page.clock.set_fixed_time(NOW)
        self.page.set_default_timeout(5000)
        self.page.on("pageerror", lambda error: self.faults.append(f"pageerror: {error}"))
        self.page.on("console", self._console)
        self.page.on("dialog", self._dialog)

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: Any) -> None:
        if message.type == "error" and "404" not in message.text and "400" not in message.text:
            self.faults.append(f"console: {message.text}")

    def open(self, fragment: str = "/") -> Any:
        """Open the page at a fragment, with the token, and return Playwright's page when its title is there."""
        self.page.goto(f"{ORIGIN}/#t={TOKEN}&{fragment}")
        self.page.locator("#title").wait_for()
        return self.page

    def _answer(self, route: Any) -> None:
        url = route.request.url
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != ORIGIN:
            self.faults.append(f"request to {url}")
            route.abort()
        elif parts.path.startswith("/api/"):
            if route.request.headers.get("authorization") != f"Bearer {TOKEN}":
                route.fulfill(
                    status=401, body='{"error": "The token is missing or wrong."}', headers=dict(SECURITY_HEADERS)
                )
                return
            if parts.path.endswith("/events"):
                return  # a stream that stays open and says nothing
            status, body, content_type = self.api.reply(url)
            route.fulfill(
                status=status,
                body=body,
                headers={**SECURITY_HEADERS, "content-type": content_type, "x-total-bytes": str(len(body))},
            )
        elif reply := self._statics.get(parts.path):
            route.fulfill(status=200, body=reply.body, headers={**SECURITY_HEADERS, "content-type": reply.content_type})
        else:
            self.faults.append(f"no such file: {url}")
            route.fulfill(status=404, body="")

    def close(self) -> None:
        """Close the tab."""
        self.context.close()
