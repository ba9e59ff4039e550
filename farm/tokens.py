"""Tokens: who may speak to the server, and as what. Only their digests are kept.

A token is ``edgefarm_ID_SECRET``; the secret is 256 random bits, so a plain sha256 of it cannot be
turned back.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa

from farm.database import Database, now
from farm.tables import TOKENS
from harness.errors import UsageError

Role = Literal["read", "submit", "operate"]
"""What a token allows: to see; also to submit jobs and cancel one's own; also to cancel others'."""

ROLES: tuple[Role, ...] = get_args(Role)

_TOKEN = re.compile(r"edgefarm_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True)
class Token:
    """A token as the database knows it.

    Attributes:
        name: of whoever holds it.
        role: see `Role`.
        created, revoked: seconds since 1970; `revoked` is None while it is good.
    """

    name: str
    role: Role
    created: float
    revoked: float | None

    def allows(self, role: Role) -> bool:
        """Whether its role is that one, or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


def create_token(database: Database, name: str, role: Role) -> str:
    """Make a token; what is returned is told once and never again.

    Raises:
        UsageError: the name is taken or not allowed.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"token name {name!r}: allowed: letters, digits and . _ @ -, at most 64")
    identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    with database.begin() as connection:
        taken = (TOKENS.c.name == name) & TOKENS.c.revoked.is_(None)
        if connection.execute(sa.select(TOKENS.c.id).where(taken)).first() is not None:
            raise UsageError(f"token {name!r} exists; revoke it first, or choose another name")
        connection.execute(
            TOKENS.insert().values(
                id=identity, name=name, role=role, digest=_digest(secret), created=now()
            )
        )
    return f"edgefarm_{identity}_{secret}"


def list_tokens(database: Database) -> list[Token]:
    """All tokens, revoked ones too, oldest first."""
    query = sa.select(TOKENS).order_by(TOKENS.c.created)
    with database.begin() as connection:
        return [_token(row) for row in connection.execute(query)]


def revoke_token(database: Database, name: str) -> None:
    """End a token at once.

    Raises:
        UsageError: there is no good one of that name.
    """
    good = (TOKENS.c.name == name) & TOKENS.c.revoked.is_(None)
    with database.begin() as connection:
        changed = connection.execute(TOKENS.update().where(good).values(revoked=now())).rowcount
    if not changed:
        raise UsageError(f"token {name!r}: no such token, or revoked already; see `token list`")


def find_token(database: Database, text: str) -> Token | None:
    """The token that a caller shows; None when it is forged or revoked."""
    parts = _TOKEN.fullmatch(text)
    if parts is None:
        return None
    query = sa.select(TOKENS).where(TOKENS.c.id == parts[1], TOKENS.c.revoked.is_(None))
    with database.begin() as connection:
        row = connection.execute(query).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, _digest(parts[2])):
        return None
    return _token(row)


def is_good(database: Database, token: Token) -> bool:
    """Whether a token that was found has not been revoked since."""
    same = (TOKENS.c.name == token.name) & (TOKENS.c.created == token.created)
    query = sa.select(TOKENS.c.id).where(same, TOKENS.c.revoked.is_(None))
    with database.begin() as connection:
        return connection.execute(query).first() is not None


def _token(row: sa.Row[*tuple[object, ...]]) -> Token:
    return Token(name=row.name, role=row.role, created=row.created, revoked=row.revoked)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
