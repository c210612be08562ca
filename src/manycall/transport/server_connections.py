"""The connections to servers: resolve their names, connect, keep idle connections for a moment, watch the deadlines."""

import asyncio
import math
import os
import socket
from contextlib import suppress
from functools import partial

from manycall import clock, errors
from manycall.transport.connection import Connection
from manycall.transport.messages import (
    CONNECT_SECONDS,
    KEEPALIVE_INTERVAL_SECONDS,
    KEEPALIVE_SECONDS,
    POOL_IDLE_SECONDS,
)

_KEEPALIVE_OPTIONS = {  # the first is Linux's name, the second that of macOS
    "TCP_KEEPIDLE": KEEPALIVE_SECONDS, "TCP_KEEPALIVE": KEEPALIVE_SECONDS, "TCP_KEEPINTVL": KEEPALIVE_INTERVAL_SECONDS,
}  # fmt: skip
RESOLVED_SECONDS = 10.0
"""How long the addresses of a name are used. A server that restarts may have another address."""
ADDRESS_SECONDS = 2.0
"""How long an address is tried if there are others. Linux repeats a packet to a silent address after one second."""


class Server:
    """A server, its idle connections and its addresses.

    Attributes:
        idle: the connection that was used last is the last one.
    """

    __slots__ = ("_addresses", "_resolved_at", "_resolving", "host", "idle", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.idle: dict[Connection, None] = {}
        self._addresses: list[str] = []
        self._resolved_at = -math.inf
        self._resolving = asyncio.Lock()

    async def addresses(self) -> list[str]:
        """Return the addresses. Calls that begin together look them up only once."""
        async with self._resolving:
            if clock.now() - self._resolved_at > RESOLVED_SECONDS:
                found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
                found.sort(key=lambda each: each[0] != socket.AF_INET)  # IPv4 first
                new = dict.fromkeys(str(each[4][0]) for each in found)
                known = [each for each in self._addresses if each in new]
                self._addresses, self._resolved_at = list(dict.fromkeys([*known, *new])), clock.now()
            return list(self._addresses)

    def prefer(self, address: str) -> None:
        """Put the address that worked before the others, also when they are looked up again."""
        self._addresses.sort(key=lambda each: each != address)

    def expire_addresses(self) -> None:
        """Look up the addresses again for the next connection."""
        self._resolved_at = -math.inf


class ServerConnections:
    """All connections of a transport.

    Args:
        idle_timeout: a streamed response fails if no byte arrives for this many seconds.
    """

    def __init__(self, idle_timeout: float) -> None:
        self._idle_timeout = idle_timeout
        self._servers: dict[tuple[str, int], Server] = {}
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._checked_at = math.inf

    def __repr__(self) -> str:
        idle = sum(len(each.idle) for each in self._servers.values())
        return f"<ServerConnections: {len(self._open)} open, {idle} idle>"

    def server(self, host: str, port: int) -> Server:
        """Return the server at this host and port."""
        return self._servers.setdefault((host, port), Server(host, port))

    def take(self, server: Server, now: float) -> Connection | None:
        """Return the idle connection to a server that was used last; None if there is none."""
        idle = server.idle
        while idle:
            connection, _ = idle.popitem()
            if connection.is_usable(now):
                return connection
        return None

    def give_back(self, server: Server, connection: Connection) -> None:
        """Keep a connection whose exchange has ended, or close it if it cannot be used again."""
        if connection.rest_for(POOL_IDLE_SECONDS):
            server.idle[connection] = None
            self.watch(connection)

    def watch(self, connection: Connection) -> None:
        """Call `expire` of a connection at its time."""
        if connection.expires_at < self._checked_at:
            self._check_at(connection.expires_at)

    async def connect(self, server: Server, seconds: float) -> Connection:
        """Open a connection within some seconds.

        Raises:
            ConnectError: there is none.
        """
        seconds = min(seconds, CONNECT_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connect(server, seconds)
        except TimeoutError:
            raise errors.ConnectError(f"connection failed: no connection within {seconds:g} s") from None
        except OSError as error:
            raise errors.ConnectError(f"connection failed: {_reason(error)}") from None
        self._open.add(connection)
        return connection

    async def _connect(self, server: Server, seconds: float) -> Connection:
        """Try the addresses of a server in order, and the one that worked first the next time."""
        failure = OSError("the name has no address")
        addresses = await server.addresses()
        for address in addresses:
            is_last = address == addresses[-1]
            try:
                async with asyncio.timeout(None if is_last else min(ADDRESS_SECONDS, seconds / len(addresses))):
                    transport, connection = await asyncio.get_running_loop().create_connection(
                        partial(Connection, self._forget, self._idle_timeout), address, server.port
                    )
                if transport.is_closing():
                    raise OSError("the server closed the connection at once")
            except OSError as error:  # or a TimeoutError, which is one
                failure = error
            else:
                server.prefer(address)
                _set_keepalive(transport.get_extra_info("socket"))
                return connection
        server.expire_addresses()
        raise failure

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        for server in self._servers.values():
            server.idle.pop(connection, None)

    def _check_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._checked_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._check)

    def _check(self) -> None:
        """Expire connections. There is one timer for all, because one for each call takes longer than its parsing."""
        self._timer, self._checked_at = None, math.inf
        now = clock.now()
        for connection in list(self._open):
            if connection.expires_at <= now:
                connection.expire()
        if (soonest := min((each.expires_at for each in self._open), default=math.inf)) < math.inf:
            self._check_at(max(soonest, now + 0.01))

    def close(self) -> None:
        """Close all connections at once."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._open):
            connection.abort()


def _set_keepalive(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in _KEEPALIVE_OPTIONS.items():
            if (option := getattr(socket, name, None)) is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, seconds)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)  # asyncio's text has no reason, only the address
