"""The secret of an installation, and what is derived from it.

One random file in the data folder (or an environment's own secret) yields the pepper of key
digests and the key that seals account credentials. Losing it loses both, so it belongs in the
backup; the database alone reveals neither keys nor credentials.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from groxy.core.errors import ErrorKind, GroxyError

SECRET_FILE = "secret.key"  # noqa: S105  a file name
_SECRET_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"


class InstallationSecret:
    """Derives everything secret that this installation needs at rest."""

    def __init__(self, secret: bytes) -> None:
        self._pepper = _derived(secret, b"groxy key digests")
        self._cipher = AESGCM(_derived(secret, b"groxy account credentials"))

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """Return the data folder's secret; create it, readable by the owner only, if it is new."""
        path = data_dir / SECRET_FILE
        if not path.exists():
            _create(path)
        return cls(_checked(path.read_bytes(), path))

    def digest(self, key: str) -> bytes:
        """Return the digest under which a caller's key is kept and looked up."""
        return hmac.digest(self._pepper, key.encode(errors="surrogateescape"), "sha256")

    def seal(self, plain: bytes, *, owner: str) -> bytes:
        """Encrypt `plain` so that it opens only as the property of `owner`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, owner.encode())

    def open(self, sealed: bytes, *, owner: str) -> bytes:
        """Decrypt what `seal` made; raise STORE_DOWN when the secret is another one."""
        nonce = sealed[1 : 1 + _NONCE_BYTES]
        try:
            if not sealed.startswith(_VERSION):
                raise InvalidTag
            return self._cipher.decrypt(nonce, sealed[1 + _NONCE_BYTES :], owner.encode())
        except (InvalidTag, ValueError):
            message = (
                f"Something stored does not open with the data folder's {SECRET_FILE}. "
                "Put back the file that belongs to this database."
            )
            raise GroxyError(ErrorKind.STORE_DOWN, message) from None


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return hmac.digest(secret, purpose, hashlib.sha256)


def _create(path: Path) -> None:
    """Write a new secret, whole or not at all; of several processes the first one's counts."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()


def _checked(secret: bytes, path: Path) -> bytes:
    if len(secret) != _SECRET_BYTES:
        message = (
            f"{path.name} in the data folder has {len(secret)} bytes instead of {_SECRET_BYTES}. "
            "Restore it from a backup; without it, stored keys and credentials are lost."
        )
        raise GroxyError(ErrorKind.STORE_DOWN, message)
    return secret
