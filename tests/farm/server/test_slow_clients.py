"""Clients that send or take too little, too slowly or too much: each holds only what is its own."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from farm.server import app, connections, uploads
from farm.tokens import revoke_token
from tests.farm.server.conftest import MakeArchive, Served


def connected(served: Served) -> socket.socket:
    parts = urlsplit(served.url)
    assert parts.hostname
    return socket.create_connection((parts.hostname, parts.port or 0), timeout=30)


def rest(client: socket.socket) -> bytes:
    """What comes until the server closes; fails by the socket's time limit when it does not."""
    return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("sent", [b"", b"G", b"GET /limits HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_head_that_never_ends_is_not_waited_for(served: Served, sent: bytes) -> None:
    with connected(served) as client:
        client.sendall(sent)
        assert rest(client) == b""


@pytest.mark.usefixtures("soon")
def test_nor_is_one_after_a_good_request(served: Served) -> None:
    with connected(served) as client:
        client.sendall(b"GET /limits HTTP/1.1\r\nHost: x\r\n\r\nGET")
        assert rest(client).startswith(b"HTTP/1.1 401 ")


@pytest.mark.usefixtures("soon")
def test_a_request_may_take_longer_than_its_head(served: Served, archive: MakeArchive) -> None:
    content = archive()

    def slowly() -> Iterator[bytes]:
        yield content[:100]
        time.sleep(1)
        yield content[100:]

    answer = served.send(slowly())
    assert answer.status_code == 201
    with served.call("GET", f"/jobs/{answer.json()['job']}/stream", stream=True) as told:
        time.sleep(1)
        assert served.call("POST", f"/jobs/{answer.json()['job']}/cancel").json()["cancelled"]
        assert b"event: end" in told.content


def test_a_large_head_is_refused(served: Served) -> None:
    with connected(served) as client:
        client.sendall(b"GET /limits HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000)
        assert rest(client).startswith(b"HTTP/1.1 400 ")


def test_an_upload_that_dribbles_is_refused(
    served: Served, archive: MakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_PATIENCE_S", 0.5)
    head = (
        "POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/zip\r\n"
        f"Authorization: Bearer {served.tokens['submit']}\r\nContent-Length: 10000\r\n\r\n"
    )
    with connected(served) as client:
        client.sendall(head.encode() + archive()[:10])
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")
    assert not list(served.settings.store.glob(".upload-*"))


def test_one_token_does_not_take_all_streams(
    served: Served, archive: MakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_MOST_STREAMS", 2)
    job = served.send(archive()).json()["job"]
    lines: list[Iterator[bytes]] = []
    with ExitStack() as open_streams:
        for _ in range(2):
            told = served.call("GET", f"/jobs/{job}/stream", "read", stream=True)
            lines.append(open_streams.enter_context(told).iter_lines())  # closed, if let go
            next(lines[-1])
        refused = served.call("GET", f"/jobs/{job}/stream", "read", stream=True)
        assert refused.status_code == 429
        other = served.call("GET", f"/jobs/{job}/stream", "operate", stream=True)
        assert open_streams.enter_context(other).status_code == 200
    deadline = time.monotonic() + 60
    while served.call("GET", f"/jobs/{job}/stream", "read", stream=True).status_code == 429:
        assert time.monotonic() < deadline  # the closed ones are free again
        time.sleep(0.2)


def test_a_revoked_tokens_stream_ends(served: Served, archive: MakeArchive) -> None:
    job = served.send(archive()).json()["job"]
    with served.call("GET", f"/jobs/{job}/stream", "read", stream=True) as told:
        revoke_token(served.database, "read")
        assert b"event: end" not in told.content
