"""Notify: tell people of a night by webhook and e-mail. Trouble with it is told, never raised."""

import json
import os
import smtplib
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from email.message import EmailMessage
from http.client import HTTPException

from farm.nightly.plan import Email, Notify
from farm.nightly.summary import Summary

_TIMEOUT_S = 30.0
_TRIES = 3
_WAIT_S = 2.0


def notify(summary: Summary, settings: Notify) -> list[str]:
    """Send the summary to whoever wants it; what could not be sent, in words."""
    if settings.when == "failure" and summary.exit_code == 0:
        return []
    problems = []
    if settings.webhook is not None:
        problems += _tried("webhook", lambda: _post(settings.webhook or "", summary))
    if settings.email is not None:
        email = settings.email
        problems += _tried("e-mail", lambda: _send(email, summary))
    return problems


def _tried(what: str, send: Callable[[], None]) -> list[str]:
    trouble = ""
    for number in range(_TRIES):
        try:
            send()
        except (OSError, HTTPException, smtplib.SMTPException, ValueError) as error:
            trouble = f"{what} was not sent: {type(error).__name__}: {error}"
            if number < _TRIES - 1:
                time.sleep(_WAIT_S * 2**number)
        else:
            return []
    return [trouble]


def _post(url: str, summary: Summary) -> None:
    """As JSON; `text` is what chat services show."""
    body = {"text": summary.text(), "exit_code": summary.exit_code, **asdict(summary)}
    request = urllib.request.Request(  # noqa: S310  the plan's schema allows http(s) only
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310  as above
        pass


def _send(settings: Email, summary: Summary) -> None:
    message = EmailMessage()
    message["Subject"] = summary.headline
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message.set_content(summary.text())
    context = ssl.create_default_context()
    if settings.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            settings.host, settings.port, timeout=_TIMEOUT_S, context=context
        )
    else:
        server = smtplib.SMTP(settings.host, settings.port, timeout=_TIMEOUT_S)
    with server:
        if settings.security == "starttls":
            server.starttls(context=context)
        if settings.user is not None:
            server.login(settings.user, os.environ.get(settings.password_env, ""))
        server.send_message(message)
