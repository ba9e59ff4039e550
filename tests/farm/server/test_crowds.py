"""Many connections at once: of those without a token, of one address, of one token."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from farm.server import connections
from tests.farm.server.conftest import MakeArchive, Served, running
from tests.farm.server.test_slow_clients import connected, rest

MANY = 230
SLOW_HEAD = b"GET /limits HTTP/1.1\r\nHost: x\r\nX: "
NO_BODY = b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
"""Answered at once with 401; the body that was announced never comes."""

UNREAD = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200
"""Megabytes of answers that the client does not take."""


@pytest.fixture
def crowd(served: Served) -> Iterator[Callable[[bytes, int], list[socket.socket]]]:
    with ExitStack() as stack:

        def come(sent: bytes, count: int) -> list[socket.socket]:
            made = []
            for _ in range(count):
                made.append(stack.enter_context(connected(served)))
                try:
                    made[-1].sendall(sent)
                except ConnectionError:
                    continue  # it was closed again already
            return made

        yield come


Crowd = Callable[[bytes, int], list[socket.socket]]


@pytest.mark.parametrize("sent", [b"", SLOW_HEAD, NO_BODY], ids=["silent", "slow", "body"])
def test_whoever_has_a_token_is_heard_among_many_who_have_none(
    served: Served, archive: MakeArchive, crowd: Crowd, sent: bytes
) -> None:
    crowd(sent, MANY)
    began = time.monotonic()
    assert served.call("GET", "/jobs").status_code == 200
    assert served.send(archive()).status_code == 201
    assert time.monotonic() - began < 5


def test_a_crowd_that_keeps_coming_does_not_push_out_a_stream(
    served: Served, archive: MakeArchive, crowd: Crowd
) -> None:
    job = served.send(archive()).json()["job"]
    with served.call("GET", f"/jobs/{job}/stream", stream=True) as told:
        lines = told.iter_lines()
        next(lines)
        crowd(SLOW_HEAD, MANY)
        assert served.call("POST", f"/jobs/{job}/cancel").json()["cancelled"]
        assert b"event: end" in b"\n".join(lines)


def test_answers_that_strangers_do_not_take_hold_no_place(
    served: Served, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    monkeypatch.setattr(connections, "MOST_OF_ADDRESS", 8)
    crowd(UNREAD, 8)
    deadline = time.monotonic() + 10
    while True:
        try:
            assert served.call("GET", "/limits").status_code == 200
            return
        except OSError:  # all eight are being answered, for now
            assert time.monotonic() < deadline


def test_the_oldest_stranger_of_a_full_address_goes(crowd: Crowd) -> None:
    first, *_others = crowd(SLOW_HEAD, connections.MOST_OF_ADDRESS)
    first.settimeout(0.2)
    with pytest.raises(TimeoutError):
        first.recv(1)
    (last,) = crowd(SLOW_HEAD, 1)
    first.settimeout(10)
    with suppress(ConnectionResetError):
        assert first.recv(1) == b""
    last.sendall(b"\r\n\r\n")
    assert last.recv(100).startswith(b"HTTP/1.1 401 ")


def test_addresses_share_the_places_of_strangers(
    served: Served, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address that has most gives way, not one that has few."""
    monkeypatch.setattr(connections, "MOST_STRANGERS", 10)
    port = int(served.url.rpartition(":")[2])
    with ExitStack() as stack:
        few = stack.enter_context(
            socket.create_connection(("127.0.0.1", port), 10, source_address=("127.0.0.2", 0))
        )
        few.sendall(SLOW_HEAD)
        crowd(SLOW_HEAD, 30)
        few.sendall(b"\r\n\r\n")
        assert few.recv(100).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_is_what_one_client_has(host: str, network: str) -> None:
    assert connections._network(host) == network


def test_one_token_does_not_take_all_connections(
    served: Served, archive: MakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_OF_TOKEN", 3)
    job = served.send(archive()).json()["job"]
    lines: list[Iterator[bytes]] = []
    with ExitStack() as stack:
        for _ in range(3):
            told = served.call("GET", f"/jobs/{job}/stream", "read", stream=True)
            lines.append(stack.enter_context(told).iter_lines())  # closed, if let go
            next(lines[-1])
        refused = served.call("GET", "/jobs", "read")
        assert refused.status_code == 429
        assert "close some" in refused.json()["error"]["message"]
        assert served.call("GET", "/jobs", "submit").status_code == 200


def test_idle_connections_of_a_token_give_way(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_OF_TOKEN", 3)
    shown = f"Authorization: Bearer {served.tokens['read']}"
    with ExitStack() as stack:
        for _ in range(6):
            client = stack.enter_context(connected(served))
            client.sendall(f"GET /jobs HTTP/1.1\r\nHost: x\r\n{shown}\r\n\r\n".encode())
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            time.sleep(0.05)  # until its answer is complete


def test_a_tls_handshake_that_never_comes_is_not_waited_for(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.5)
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with (
        running(served.database, served.settings, ssl_certfile=certificate, ssl_keyfile=key) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 10) as client,
    ):
        assert rest(client) == b""


def test_no_page_of_the_server_loads_from_elsewhere(served: Served) -> None:
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect", "/"):
        assert served.call("GET", path, None).status_code == 404
