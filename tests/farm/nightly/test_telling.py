"""What is told of a night: the exit code, JUnit XML, a webhook, an e-mail."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree as ET

import pytest

from farm.nightly import notify as notifying
from farm.nightly.notify import notify
from farm.nightly.plan import Email, Notify
from farm.nightly.summary import Row, Summary, write_junit
from harness.records import Outcome


def row(outcome: Outcome, message: str = "", model: str = "m") -> Row:
    return Row(model, "float", "host-litert", "a", outcome, message, "job", "run", 1.5)


def summary(*rows: Row) -> Summary:
    return Summary("main", "main-1", 90.0, rows, ("left out: x",))


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((), 3),
        ((Outcome.PASS,), 0),
        ((Outcome.PASS, Outcome.WARN), 4),
        ((Outcome.WARN, Outcome.FAIL), 1),
        ((Outcome.WARN, Outcome.ERROR), 3),
        ((Outcome.PASS, Outcome.FAIL), 1),
        ((Outcome.FAIL, Outcome.ERROR), 3),
        ((Outcome.TIMEOUT,), 3),
        ((Outcome.PASS, Outcome.CANCELLED), 3),
    ],
)
def test_the_worst_outcome_is_the_exit_code(outcomes: tuple[Outcome, ...], code: int) -> None:
    assert summary(*(row(one) for one in outcomes)).exit_code == code


def test_a_run_that_looks_wrong_is_told_and_no_green_case(tmp_path: Path) -> None:
    told = summary(row(Outcome.PASS), row(Outcome.WARN, "cosine with float is 0"))
    assert "WARN  m float on a: cosine with float is 0" in told.text()
    write_junit(told, tmp_path / "junit.xml")
    root = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314  written by ourselves
    assert [(s.get("failures"), s.get("errors")) for s in root] == [("1", "0")]
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("type") == "WARN"


@pytest.mark.parametrize("before", [Outcome.PASS, Outcome.WARN])
def test_slower_fails_a_night_that_passed_or_looks_wrong(before: Outcome) -> None:
    said = "cosine with float is 0" if before is Outcome.WARN else ""
    slower = row(before, said).timed("slower: +10 %", slower=True, fails=True)
    assert slower.outcome is Outcome.FAIL
    assert slower.message == "; ".join(filter(None, ("slower: +10 %", said)))
    assert summary(slower).text().count("slower: +10 %") == 1
    assert row(before, said).timed("slower", slower=True, fails=False).outcome is before


def test_the_text_says_what_did_not_pass() -> None:
    told = summary(row(Outcome.PASS), row(Outcome.FAIL, "top1 too low")).text().splitlines()
    assert told == [
        "nightly main: 1 PASS, 1 FAIL",
        "night main-1, 2 min",
        "FAIL  m float on a: top1 too low",
        "note: left out: x",
    ]


def test_junit_is_xml_whatever_a_message_holds(tmp_path: Path) -> None:
    nasty = "a\0b\x1b[31m<x>&\ud800\uffff\nsecond"
    rows = (row(Outcome.PASS), row(Outcome.FAIL, nasty), row(Outcome.ERROR, "gone", model="n"))
    write_junit(summary(*rows), tmp_path / "out" / "junit.xml")
    root = ET.parse(tmp_path / "out" / "junit.xml").getroot()  # noqa: S314  written by ourselves
    told = [(s.get("name"), s.get("tests"), s.get("failures"), s.get("errors")) for s in root]
    assert told == [("m", "2", "1", "0"), ("n", "1", "0", "1")]
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("message") == "a?b?[31m<x>&??"


@contextmanager
def hook(statuses: list[int]) -> Iterator[tuple[str, list[bytes]]]:
    """A web server that answers with one status after the other; its URL, what it was sent."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(statuses.pop(0))
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", got
        server.shutdown()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "_WAIT_S", 0.0)


def test_a_webhook_is_tried_again() -> None:
    with hook([503, 200]) as (url, got):
        assert notify(summary(row(Outcome.FAIL, "low")), Notify(webhook=url)) == []
    told = json.loads(got[1])
    assert told["text"].startswith("nightly main: 1 FAIL")
    assert (told["exit_code"], told["rows"][0]["outcome"]) == (1, "FAIL")


def test_trouble_with_it_is_told() -> None:
    with hook([500, 500, 500]) as (url, _):
        (problem,) = notify(summary(row(Outcome.PASS)), Notify(webhook=url))
    assert "webhook was not sent: HTTPError" in problem
    email = Email(to=["a@example.org"], sender="f@example.org", host="127.0.0.1", port=9)
    assert "e-mail was not sent" in notify(summary(), Notify(email=email))[0]


def test_who_wants_failures_only_hears_of_no_other_night() -> None:
    settings = Notify(when="failure", webhook="http://127.0.0.1:9/")
    assert notify(summary(row(Outcome.PASS)), settings) == []
    for outcome in (Outcome.WARN, Outcome.FAIL):
        assert notify(summary(row(outcome)), settings) != []


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as taking one message needs."""

    got: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        data = False
        for line in self.rfile:
            text = line.decode().rstrip("\r\n")
            self.got.append(text)
            if data and text != ".":
                continue
            data = text.upper() == "DATA"
            answer = "354 go on" if data else "221 bye" if text.upper() == "QUIT" else "250 ok"
            self.wfile.write(f"{answer}\r\n".encode())
            if answer.startswith("221"):
                return


def test_an_email_is_sent() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), Mail) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        email = Email(
            to=["a@example.org", "b@example.org"], sender="farm@example.org",
            host="127.0.0.1", port=server.server_address[1], security="none",
        )  # fmt: skip
        assert notify(summary(row(Outcome.FAIL, "low")), Notify(email=email)) == []
        server.shutdown()
    assert "Subject: nightly main: 1 FAIL" in Mail.got
    assert "To: a@example.org, b@example.org" in Mail.got
    assert "FAIL  m float on a: low" in Mail.got
