"""Connections: how many, of whom, how large a request's head may be, and how long it may take.

Whoever has shown no good token is a stranger. Strangers are let in, for everybody is one at first;
but they have few places, fewer from one address, and whoever waits longest makes room for the next.
So a caller with a token is heard however many connections others hold open.
"""

import asyncio
import ipaddress
import resource
from collections import Counter
from collections.abc import Collection
from typing import Any, cast

from fastapi import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from farm.server.answers import Refused
from farm.tokens import Token

HEAD_S = 20.0
"""A stranger's connection that shows no new request between two looks so far apart is closed, and
so is anybody's on which no request is being answered."""

MOST_STRANGERS = 192
MOST_OF_ADDRESS = 64
"""Strangers of one address; of IPv6, of one /64, which is what one customer gets."""

MOST_OF_TOKEN = 64
MOST_KNOWN = 512
HANDSHAKE_S = 10.0
_FILES = 1 << 16


class Connection(H11Protocol):
    """uvicorn's, which would take all comers alike, and wait for the rest of a head for ever."""

    token: Token | None = None
    """The last good token that was shown here."""

    since = 0.0
    address = ""
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to look; the requests' `state` says whose connection it is."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "connection": self}
        self.since = self.loop.time()
        self.address = _network(self.client[0] if self.client else "")
        self._make_room()
        self._look(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def know(self, token: Token) -> None:
        """A good token was shown here: this is a stranger's connection no more.

        Raises:
            Refused: there are as many of this token, or of all tokens, as may be.
        """
        known = [one for one in self._open() if one.token is not None and one is not self]
        of_token = [one for one in known if one.token == token]
        if len(of_token) >= MOST_OF_TOKEN and not _close_one_of(of_token):
            raise Refused(
                429, f"token {token.name!r} has {MOST_OF_TOKEN} connections at work; close some"
            )
        if len(known) >= MOST_KNOWN and not _close_one_of(known):
            raise Refused(503, f"the server has {MOST_KNOWN} connections at work; try again")
        self.token = token

    def _open(self) -> list["Connection"]:
        connections = cast("Collection[Connection]", self.connections)
        return [one for one in connections if not one.transport.is_closing()]

    def _make_room(self) -> None:
        """Close whichever stranger waited longest, of the address that has most, if it is full."""
        strangers = [one for one in self._open() if one.token is None]
        held = Counter(one.address for one in strangers)
        if len(strangers) <= MOST_STRANGERS and held[self.address] <= MOST_OF_ADDRESS:
            return
        most = max(held.values())
        crowded = [address for address, count in held.items() if count == most]
        if held[self.address] > MOST_OF_ADDRESS:
            crowded = [self.address]
        crowd = [one for one in strangers if one.address in crowded]
        others = [one for one in crowd if one is not self] or crowd
        if not _close_one_of(others):  # all are being answered, or take no answer
            min(others, key=lambda one: one.since).transport.abort()

    def _look(self, before: object) -> None:
        """Close a connection that waits for a head and waited for the same one before; a stranger's
        request takes no time, unless he does not take the answer."""
        last = self.cycle or self  # a new one for each request
        at_work = self.token is not None and self.busy
        if not at_work and before is last:
            self.transport.abort() if self.busy else self.transport.close()
            return
        self._watch = self.loop.call_later(HEAD_S, self._look, None if at_work else last)


def make_known(request: Request, token: Token) -> None:
    """Tell a request's connection, when it is one of ours, whose it is; see `Connection.know`."""
    connection = getattr(request.state, "connection", None)
    if isinstance(connection, Connection):
        connection.know(token)


def _close_one_of(crowd: Collection[Connection]) -> bool:
    """Close the oldest on which no request is being answered; False when all are at work."""
    idle = [one for one in crowd if not one.busy]
    if idle:
        # Not close(): with TLS that would wait for the other side.
        min(idle, key=lambda one: one.since).transport.abort()
    return bool(idle)


def _network(host: str) -> str:
    """What one client has: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address) >> 64 << 64, 64)))


class Loop(asyncio.SelectorEventLoop):
    """asyncio's, which would wait a minute for a TLS handshake, and hold a socket meanwhile."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:  # noqa: ANN401
        """As of any loop; handshakes have their time limit."""
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", HANDSHAKE_S)
        return await super().create_server(*args, **options)


def allow_many_files() -> None:
    """As many open files as this process may have: connections in a TLS handshake are not ours yet
    to be counted, and a full table of files would end the accepting of any."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = _FILES if most == resource.RLIM_INFINITY else min(most, _FILES)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


OPTIONS: dict[str, Any] = {
    "http": Connection,
    "loop": f"{__name__}:Loop",
    "ws": "none",
    "server_header": False,
    "h11_max_incomplete_event_size": 16 << 10,
    "timeout_graceful_shutdown": 5,
}
"""For `uvicorn.run`."""
