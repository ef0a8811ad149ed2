"""The secret of an installation, and what is derived from it.

One random file in the data folder, or the setting `app.secret_key` in its place, yields the pepper
of key digests, the first key that seals what is stored, and the key that wraps all later ones
(`store.sealing_keys`). Losing it loses all of them, so it belongs in the backup; the database alone
reveals neither keys nor credentials.

What is sealed begins with the version of its form: 1 for the key derived from the secret, 2 and a
key's id for a key of a rotation.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.sealing_keys import ID_BYTES, KEYS_FILE, SealingKeys
from groxy.store.secret_file import create_secret_file

SECRET_FILE = "secret.key"  # noqa: S105  a file name
SECRET_SETTING = "app.secret_key"  # noqa: S105  a setting's name
FROM_FILE = f"the data folder's {SECRET_FILE}"
FROM_SETTING = f"the setting {SECRET_SETTING}"
_SECRET_BYTES = 32
_NONCE_BYTES = 12
DERIVED_MARK = b"\x01"
"""How everything begins that the key derived from the secret sealed."""
ROTATED_MARK = b"\x02"
"""How everything begins that a key of a rotation sealed; the key's id follows."""
MARK_BYTES = len(ROTATED_MARK) + ID_BYTES


class InstallationSecret:
    """Derives everything secret that this installation needs at rest."""

    def __init__(
        self, secret: bytes, *, origin: str = FROM_FILE, data_dir: Path | None = None
    ) -> None:
        """`origin` says in messages where it is from; without `data_dir` nothing is rotated.

        Raises STORE_DOWN when the folder's sealing keys cannot be used.
        """
        self.origin = origin
        self.sealing_keys: SealingKeys | None = None
        # Begun once: beginning one for each request takes longer than the digest itself.
        self._digest = hmac.new(_derived(secret, b"groxy key digests"), digestmod=hashlib.sha256)
        self._cipher = AESGCM(_derived(secret, b"groxy account credentials"))
        self._receipt_seed = _derived(secret, b"groxy receipts")
        if data_dir is not None:
            wrapping_key = _derived(secret, b"groxy sealing keys")
            self.sealing_keys = SealingKeys(data_dir, wrapping_key, origin=origin)

    @classmethod
    def of(cls, data_dir: Path, given: bytes | None = None) -> Self:
        """Return the installation's secret: `given` (32 bytes), else the data folder's file.

        A file that is not there is made, readable by the owner only; with `given` it is neither
        made nor read. Raises STORE_DOWN for a secret of another size, and for sealing keys that
        cannot be used.
        """
        if given is not None:
            return cls(_checked_given(given), origin=FROM_SETTING, data_dir=data_dir)
        path = data_dir / SECRET_FILE
        if not path.exists():
            create_secret_file(path, secrets.token_bytes(_SECRET_BYTES))
        return cls(_checked(path.read_bytes(), path), data_dir=data_dir)

    def digest(self, key: str) -> bytes:
        """Return the digest under which a caller's key is kept and looked up."""
        digest = self._digest.copy()
        digest.update(key.encode(errors="surrogateescape"))
        return digest.digest()

    def receipt_seed(self) -> bytes:
        """Return the 32 bytes of which the key that signs receipts is made.

        They follow from the secret alone, so a rotation of sealing keys does not change them.
        """
        return self._receipt_seed

    def seal(self, plain: bytes, *, owner: str) -> bytes:
        """Encrypt `plain` with the newest key, so that it opens only as the property of `owner`."""
        key = self.sealing_keys.newest if self.sealing_keys else None
        mark, cipher = (ROTATED_MARK + key.id, key.cipher) if key else (DERIVED_MARK, self._cipher)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return mark + nonce + cipher.encrypt(nonce, plain, owner.encode())

    def open(self, sealed: bytes, *, owner: str) -> bytes:
        """Decrypt what `seal` made; raise STORE_DOWN when the secret or the key is another one."""
        if sealed.startswith(ROTATED_MARK):
            return self._open_rotated(sealed, owner)
        nonce = sealed[1 : 1 + _NONCE_BYTES]
        try:
            if not sealed.startswith(DERIVED_MARK):
                raise InvalidTag
            return self._cipher.decrypt(nonce, sealed[1 + _NONCE_BYTES :], owner.encode())
        except (InvalidTag, ValueError):
            raise _not_opened(f"does not open with {self.origin}", self._remedy()) from None

    def _open_rotated(self, sealed: bytes, owner: str) -> bytes:
        key_id, rest = sealed[1:MARK_BYTES], sealed[MARK_BYTES:]
        key = self.sealing_keys.find(key_id) if self.sealing_keys else None
        if key is None:
            problem = f"is sealed with the key {key_id.hex()}, which {KEYS_FILE} lacks"
            remedy = "Put back, in the data folder, the file that belongs to this database."
            raise _not_opened(problem, remedy)
        try:
            return key.cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError):
            problem = f"does not open with its key {key.name}: it was changed or moved"
            raise _not_opened(problem, "Restore the database from a backup.") from None

    def _remedy(self) -> str:
        if self.origin == FROM_SETTING:
            return "Set it to the secret that belongs to this database."
        return "Put back the file that belongs to this database."


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return hmac.digest(secret, purpose, hashlib.sha256)


def _not_opened(problem: str, remedy: str) -> GroxyError:
    return GroxyError(ErrorKind.STORE_DOWN, f"Something stored {problem}. {remedy}")


def _checked(secret: bytes, path: Path) -> bytes:
    if len(secret) != _SECRET_BYTES:
        message = (
            f"{path.name} in the data folder has {len(secret)} bytes instead of {_SECRET_BYTES}. "
            "Restore it from a backup; without it, stored keys and credentials are lost."
        )
        raise GroxyError(ErrorKind.STORE_DOWN, message)
    return secret


def _checked_given(secret: bytes) -> bytes:
    if len(secret) != _SECRET_BYTES:
        message = (
            f"{SECRET_SETTING} has {len(secret)} bytes instead of {_SECRET_BYTES}. "
            "Set it to 64 hex digits."
        )
        raise GroxyError(ErrorKind.STORE_DOWN, message, param=SECRET_SETTING)
    return secret
