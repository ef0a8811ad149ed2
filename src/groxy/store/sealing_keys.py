"""The keys that seal what is stored, and the file that holds them.

In: the data folder and a wrapping key. Out: the newest key to seal with, and any key to open with.
The file `sealing.keys` has a line for each key, newest last: its id, the key itself, wrapped so
that the file alone opens nothing, and the word "unfinished" while its rotation is not through.
There is no file until the first rotation. A running process notices another's rotation: it looks
at the file's times when it meets a key that it does not know, and else at most once a second.
"""

import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from groxy.core.errors import ErrorKind, GroxyError
from groxy.observe import logs
from groxy.store.secret_file import locked, replace_secret_file

KEYS_FILE = "sealing.keys"
LOCK_FILE = "sealing.keys.lock"
ID_BYTES = 4
_KEY_BYTES = 32
_NONCE_BYTES = 12
_LOOK_EVERY_S = 1.0
_UNFINISHED = "unfinished"

_Stamp = tuple[int, int, int]
"""What tells one version of the file from another: inode, time of change in ns, size in bytes."""


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key, ready for use."""

    id: bytes
    """Four random bytes, unique in the file. What the key seals begins with them."""
    cipher: AESGCM
    wrapped: str
    """The key as the file has it, in hex."""

    @property
    def name(self) -> str:
        """The id as people see it: eight hex digits."""
        return self.id.hex()


@dataclass(frozen=True, slots=True)
class _Ring:
    """One version of the file. It is replaced as a whole, so that every thread sees a whole one."""

    keys: Mapping[bytes, SealingKey]
    newest: SealingKey | None
    is_unfinished: bool
    stamp: _Stamp | None


class SealingKeys:
    """The keys of one data folder. Raises STORE_DOWN for a file that cannot be used."""

    def __init__(
        self,
        data_dir: Path,
        wrapping_key: bytes,
        *,
        origin: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`origin` names the secret that `wrapping_key` comes from, for messages."""
        self.data_dir = data_dir
        self._path = data_dir / KEYS_FILE
        self._wrapping = AESGCM(wrapping_key)
        self._origin = origin
        self._clock = clock
        self._log = logs.get_logger("store")
        self._ring = _Ring({}, None, is_unfinished=False, stamp=None)
        self._look_at = clock() + _LOOK_EVERY_S
        with suppress(FileNotFoundError):
            self._ring = self._read()

    @property
    def newest(self) -> SealingKey | None:
        """The key to seal with, or None for the installation secret's own. May be a second old."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._look()
        return self._ring.newest

    def find(self, key_id: bytes) -> SealingKey | None:
        """Return the key of this id, however new it is, or None when the file has none."""
        key = self._ring.keys.get(key_id)
        if key is None:
            self._look()
            key = self._ring.keys.get(key_id)
        return key

    # ------------------------------------------------------------------------------- changing

    @contextmanager
    def changing(self) -> Iterator["SealingKeys"]:
        """Let nobody else change the keys meanwhile; raise CONFLICT when somebody does."""
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.data_dir / LOCK_FILE))
            except BlockingIOError:
                message = (
                    "Another `groxy secret rotate` is at work on this data folder. "
                    "Wait until it ends, then try again."
                )
                raise GroxyError(ErrorKind.CONFLICT, message) from None
            with suppress(FileNotFoundError):
                self._ring = self._read()
            yield self

    @property
    def is_unfinished(self) -> bool:
        """True while what older keys sealed has not all been sealed anew with the newest."""
        return self._ring.is_unfinished

    @property
    def ids(self) -> list[bytes]:
        """The ids of all keys in the file, oldest first."""
        return list(self._ring.keys)

    def age_s(self) -> float:
        """Return how long ago the file was changed."""
        return max(0.0, (time.time_ns() - self._path.stat().st_mtime_ns) / 1e9)

    def add(self) -> SealingKey:
        """Make a key and write it as the newest, its rotation unfinished; call it in `changing`."""
        key_id = secrets.token_bytes(ID_BYTES)
        while key_id in self._ring.keys:
            key_id = secrets.token_bytes(ID_BYTES)
        plain = secrets.token_bytes(_KEY_BYTES)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        wrapped = nonce + self._wrapping.encrypt(nonce, plain, key_id)
        key = SealingKey(key_id, AESGCM(plain), wrapped.hex())
        self._write([*self._ring.keys.values(), key], is_unfinished=True)
        return key

    def finish(self) -> None:
        """Write that the newest key's rotation is through; call it in `changing`."""
        self._write(self._ring.keys.values(), is_unfinished=False)

    def drop(self, ids: Collection[bytes]) -> None:
        """Write the file without these keys; call it in `changing`. The newest always stays."""
        ring = self._ring
        left = [key for key in ring.keys.values() if key.id not in ids or key is ring.newest]
        self._write(left, is_unfinished=ring.is_unfinished)

    def _write(self, keys: Collection[SealingKey], *, is_unfinished: bool) -> None:
        lines = [f"{key.name} {key.wrapped}" for key in keys]
        if is_unfinished:
            lines[-1] += f" {_UNFINISHED}"
        replace_secret_file(self._path, "".join(f"{line}\n" for line in lines).encode())
        self._ring = self._read()

    # -------------------------------------------------------------------------------- reading

    def _look(self) -> None:
        """Take up another version of the file, if there is one.

        While there is no usable file, which only somebody's mishap can bring about, keys known
        already open on, and the installation secret's own key seals: it opens after a restart too.
        """
        stamp = _stamp_of(self._path)
        if stamp == self._ring.stamp:
            return
        try:
            self._ring = self._read()
        except (GroxyError, OSError) as error:
            self._ring = replace(self._ring, newest=None, stamp=stamp)
            self._log.error("sealing keys cannot be read", file=KEYS_FILE, reason=str(error))

    def _read(self) -> _Ring:
        # First the stamp: if the file changes in between, it is read once more later.
        stamp = _stamp_of(self._path)
        try:
            text = self._path.read_text(encoding="ascii")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unusable(f"cannot be read ({error.strerror})", "Make it readable.") from None
        except UnicodeDecodeError:
            raise _unusable("is not what Groxy wrote", _RESTORE) from None
        keys: dict[bytes, SealingKey] = {}
        is_unfinished = False
        for number, line in zip(count(1), text.splitlines(), strict=False):
            key, is_unfinished = self._parsed(line, number)
            keys[key.id] = key
        if not keys:
            raise _unusable("is empty", _RESTORE)
        return _Ring(keys, keys[next(reversed(keys))], is_unfinished, stamp)

    def _parsed(self, line: str, number: int) -> tuple[SealingKey, bool]:
        """Return the key of a line, and whether its rotation is unfinished."""
        try:
            name, wrapped, *rest = line.split(" ")
            key_id, sealed = bytes.fromhex(name), bytes.fromhex(wrapped)
        except ValueError:
            raise _unusable(f"is damaged in line {number}", _RESTORE) from None
        if len(key_id) != ID_BYTES or rest not in ([], [_UNFINISHED]):
            raise _unusable(f"is damaged in line {number}", _RESTORE)
        try:
            plain = self._wrapping.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key_id)
            return SealingKey(key_id, AESGCM(plain), wrapped), bool(rest)
        except (InvalidTag, ValueError):
            remedy = "Put back the file and the secret that belong together."
            problem = f"does not open with {self._origin} (line {number})"
            raise _unusable(problem, remedy) from None


_RESTORE = "Restore it from a backup; without it, what its keys sealed is lost."


def _unusable(problem: str, remedy: str) -> GroxyError:
    return GroxyError(ErrorKind.STORE_DOWN, f"{KEYS_FILE} in the data folder {problem}. {remedy}")


def _stamp_of(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a little cheaper, and this is asked often
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
