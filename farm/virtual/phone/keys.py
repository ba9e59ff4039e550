"""Whom a phone lets in: the RSA keys of hosts that it has accepted.

A new phone accepts the first key that it is shown, as the person who sets it up would; every other
host stays unauthorized. A key is stored as adb sends it: base64 of Android's own format, a name.
"""

import asyncio
import base64
import binascii
import struct
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

TOKEN_BYTES = 20
_MODULUS_BYTES = 256
# Words of the modulus, its negative inverse, the modulus, R squared, the exponent.
_KEY = struct.Struct(f"<II{_MODULUS_BYTES}s{_MODULUS_BYTES}sI")


class AcceptedKeys:
    """The keys in a file, and whether the next one that is shown is accepted."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._trusting = not file.exists()
        self._changed = asyncio.Event()

    def allows(self, token: bytes, signature: bytes) -> bool:
        """Whether an accepted key has signed this token (PKCS #1 v1.5, the token as a SHA-1)."""
        for line in self._lines():
            with suppress(InvalidSignature, ValueError):
                parse_key(line).verify(
                    signature,
                    token,
                    padding.PKCS1v15(),
                    Prehashed(hashes.SHA1()),  # noqa: S303  the protocol's choice
                )
                return True
        return False

    def forget(self) -> None:
        """Accept nobody, neither those known nor the next."""
        self._trusting = False
        self._file.write_text("")

    def trust(self) -> None:
        """Accept the key that is being shown, or else the next one, if there is none yet."""
        self._trusting = not self._lines()
        self._changed.set()

    async def accepted(self, shown: bytes) -> None:
        """Return when this key has been accepted; perhaps never.

        Raises:
            ValueError: it is no key.
        """
        line = shown.rstrip(b"\0").decode("ascii", "replace").strip()
        parse_key(line)
        while not self._trusting and line not in self._lines():
            self._changed.clear()
            await self._changed.wait()
        if self._trusting:
            self._trusting = False
            self._file.write_text(f"{line}\n")

    def _lines(self) -> list[str]:
        return self._file.read_text().splitlines() if self._file.exists() else []


def parse_key(line: str) -> rsa.RSAPublicKey:
    """A public key as adb sends it.

    Raises:
        ValueError: it is none.
    """
    try:
        words, _, modulus, _, exponent = _KEY.unpack(base64.b64decode(line.split(maxsplit=1)[0]))
    except (IndexError, binascii.Error, struct.error) as error:
        raise ValueError("not a key of adb") from error
    if words * 4 != _MODULUS_BYTES:
        raise ValueError(f"a modulus of {words} words; adb's has {_MODULUS_BYTES // 4}")
    return rsa.RSAPublicNumbers(exponent, int.from_bytes(modulus, "little")).public_key()
