"""Listen on loopback, print the URL with the token, and open the browser."""

import asyncio
import os
import secrets
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from html import escape
from pathlib import Path

import uvicorn

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.view.routes import ViewRoutes
from manycall.view.run_list import RunList
from manycall.view.serve import ViewApp
from manycall.view.static_files import page_files, static_replies

DEFAULT_PORT = 8398
NICENESS = 10
"""The run that is observed must not feel the page."""
LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def view_runs(paths: Sequence[Path], *, port: int | None, opens_browser: bool) -> None:
    """Serve the page of some runs until interrupted. Prints its URL first.

    Args:
        paths: files and folders; runs in folders are found.
        port: the port; None: 8398, or any free one if that is in use.

    Raises:
        UsageError: a path does not exist, or the port cannot be used.
    """
    token = secrets.token_urlsafe(32)
    app = ViewApp(ViewRoutes(RunList(paths, Path.cwd())), static_replies(page_files()), token)
    with ExitStack() as stack:
        stack.callback(app.close)
        listeners = _listeners(port)
        for listener in listeners:
            stack.enter_context(listener)
        number = listeners[0].getsockname()[1]
        url = f"http://127.0.0.1:{number}/#t={token}"
        with suppress(OSError):
            os.nice(NICENESS)
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip

        def begin() -> None:
            _announce(url, number, stack, opens_browser)
            app.prepare()

        server = _AnnouncedServer(config, begin)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=listeners))


class _AnnouncedServer(uvicorn.Server):
    """Prints its URL as soon as it accepts connections."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()


def _listeners(port: int | None) -> list[socket.socket]:
    """Return sockets that listen on 127.0.0.1 and, if the machine has it, on ::1.

    Raises:
        UsageError: the port cannot be used.
    """
    try:
        first = _listener(*LOOPBACK[0], DEFAULT_PORT if port is None else port)
    except (OSError, OverflowError) as error:
        if port is not None:
            reason = getattr(error, "strerror", error)
            raise UsageError(f"Cannot listen on 127.0.0.1:{port}: {reason}. Choose another {option('port')}.") from None
        first = _listener(*LOOPBACK[0], 0)
    try:
        return [first, _listener(*LOOPBACK[1], first.getsockname()[1])]
    except OSError:
        return [first]


def _listener(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _announce(url: str, port: int, stack: ExitStack, opens_browser: bool) -> None:
    print(url, flush=True)
    if os.environ.get("SSH_CONNECTION"):
        print(
            f"From your machine: ssh -N -L {port}:127.0.0.1:{port} {socket.gethostname()}", file=sys.stderr, flush=True
        )
    elif opens_browser and _has_display():
        _open_browser(url, stack)


def _has_display() -> bool:
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _open_browser(url: str, stack: ExitStack) -> None:
    """Open the page by way of a file that only this user can read: other users can see command lines."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="manycall-view-"))
    page = Path(folder, "open.html")
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(url)}">', encoding="utf-8")
    with suppress(webbrowser.Error, OSError):
        webbrowser.open(page.as_uri())
