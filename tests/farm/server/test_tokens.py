"""Tokens: told once, kept as digests, ended at once."""

import pytest
import sqlalchemy as sa

from farm.database import Database
from farm.tables import TOKENS
from farm.tokens import create_token, find_token, list_tokens, revoke_token
from harness.errors import UsageError


def test_a_token_is_found_until_it_is_revoked(database: Database) -> None:
    text = create_token(database, "ci", "submit")
    found = find_token(database, text)
    assert found is not None
    assert (found.name, found.role) == ("ci", "submit")
    assert [found.allows(role) for role in ("read", "submit", "operate")] == [True, True, False]
    revoke_token(database, "ci")
    assert find_token(database, text) is None
    assert [one.revoked is not None for one in list_tokens(database)] == [True]
    create_token(database, "ci", "read")
    with pytest.raises(UsageError, match="exists"):
        create_token(database, "ci", "read")
    with pytest.raises(UsageError, match="no such token"):
        revoke_token(database, "nobody")


def test_forged_tokens_are_not_found(database: Database) -> None:
    text = create_token(database, "ci", "submit")
    for forged in ("", "x", text[:-1], text + "A", text[:-2] + "zz", text.upper(), f" {text}"):
        assert find_token(database, forged) is None


def test_the_secret_is_not_in_the_database(database: Database) -> None:
    text = create_token(database, "ci", "submit")
    with database.begin() as connection:
        kept = str(connection.execute(sa.select(TOKENS)).all())
    assert text.rpartition("_")[2] not in kept


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 65, "a\n"])
def test_names_are_plain(database: Database, name: str) -> None:
    with pytest.raises(UsageError, match="allowed"):
        create_token(database, name, "read")
