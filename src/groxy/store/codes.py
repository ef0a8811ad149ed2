"""Codes that are worth credits: made in batches, shown once, redeemed once.

In: amounts, or a code as somebody typed it. Out: codes, or the balance after it was redeemed. Only
digests are kept. Whoever redeems changes the code's row on a condition and enters the line in the
same transaction, so of any number of tries at the same time one succeeds.
"""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.audit import AuditEntry, write_audit
from groxy.store.database import BULK_TIMEOUT_S, Database, chunks, storable
from groxy.store.ledger import Entry, Kind, enter, user_side
from groxy.store.secrets import InstallationSecret

MAX_COUNT = 1_000
"""How many codes one batch has at most."""
MAX_NOTE_CHARS = 500
MAX_PAGE = 1_000
MAX_CODE_CHARS = 64
_PREFIX = "GROX"
_SIGNS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: no I, L, O or U, which people take for something else. Five bits each."""
_LENGTH = 16
_GROUP = 4
_MEANT = str.maketrans("OIL", "011")
_BETWEEN = re.compile(r"[\s\-\u2010-\u2015_.]+")
_BODY = re.compile(rf"[{_SIGNS}]{{{_LENGTH}}}", re.ASCII)

_codes = tables.codes.c


class CodeState(Enum):
    """What became of a code."""

    OPEN = "open"
    REDEEMED = "redeemed"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A code as the database knows it."""

    id: str
    hint: str
    """Its last four signs."""
    batch: str
    ticks: int
    note: str
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    redeemed_ms: int | None
    redeemed_by: str
    """The user's id; empty for nobody."""

    def state(self, now_ms: int) -> CodeState:
        """Return what became of it."""
        if self.redeemed_ms is not None:
            return CodeState.REDEEMED
        if self.revoked_ms is not None:
            return CodeState.REVOKED
        if self.expires_ms is not None and self.expires_ms <= now_ms:
            return CodeState.EXPIRED
        return CodeState.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """What redeeming came to."""

    code_id: str
    ticks: int
    balance_ticks: int
    balances: dict[str, tuple[int, int]]
    """Ticks and seq of what was moved, by name."""


def new_batch_id() -> str:
    """Return an id of a batch; they sort by time."""
    return f"batch_{_now_ms():011x}{secrets.token_hex(6)}"


async def create_codes(  # noqa: PLR0913 - each is a field of its own
    database: Database,
    secret: InstallationSecret,
    *,
    batch: str,
    count: int,
    ticks: int,
    expires_ms: int | None = None,
    note: str = "",
    audit: Sequence[AuditEntry] = (),
) -> list[tuple[str, Code]]:
    """Make codes of one worth; return each, for the only time, and what was stored of it.

    `count` is 1 to `MAX_COUNT`, `ticks` more than 0: whoever reads what people type has checked it.
    """
    now_ms = _now_ms()
    made = []
    for number in range(count):
        body = "".join(secrets.choice(_SIGNS) for _ in range(_LENGTH))
        code = Code(
            id=f"code_{now_ms:011x}{number:04x}{secrets.token_hex(5)}",
            hint=body[-_GROUP:],
            batch=batch,
            ticks=ticks,
            note=storable(note, MAX_NOTE_CHARS),
            created_ms=now_ms,
            expires_ms=expires_ms,
            revoked_ms=None,
            redeemed_ms=None,
            redeemed_by="",
        )
        made.append((body, code))
    rows = [_row(code, _digest(secret, body)) for body, code in made]
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        for part in chunks(rows):
            await connection.execute(sa.insert(tables.codes), list(part))
        await write_audit(connection, audit)
    return [(_shown(body), code) for body, code in made]


async def list_codes(
    database: Database, *, before: str = "", limit: int = 50, batch: str = ""
) -> list[Code]:
    """Return codes, newest first: those older than the id `before`, of a batch."""
    if not (before.isprintable() and batch.isprintable()):  # PostgreSQL takes no NUL
        return []
    query = sa.select(*_LISTED).order_by(_codes.id.desc()).limit(min(max(limit, 1), MAX_PAGE))
    if before:
        query = query.where(_codes.id < before)
    if batch:
        query = query.where(_codes.batch == batch)
    async with database.transaction() as connection:
        return [Code(**row) for row in (await connection.execute(query)).mappings()]


async def revoke_code(database: Database, code_id: str, audit: Sequence[AuditEntry] = ()) -> None:
    """Revoke a code that nobody redeemed; one that is revoked stays so.

    Raises NOT_FOUND (`code_not_found`) and CONFLICT (`code_redeemed`).
    """
    if not code_id.isprintable():
        raise _no_such_code()
    async with database.transaction() as connection:
        change = sa.update(tables.codes).where(_codes.id == code_id, _codes.redeemed_ms.is_(None))
        revoked_ms = sa.func.coalesce(_codes.revoked_ms, _now_ms())
        done = await connection.execute(change.values(revoked_ms=revoked_ms))
        if not done.rowcount:
            known = sa.select(_codes.id).where(_codes.id == code_id)
            if await connection.scalar(known) is None:
                raise _no_such_code()
            message = "This code was redeemed, so it cannot be revoked. Take the credits back."
            raise GroxyError(ErrorKind.CONFLICT, message, code="code_redeemed")
        await write_audit(connection, audit)


async def revoke_batch(database: Database, batch: str, audit: Sequence[AuditEntry] = ()) -> int:
    """Revoke the codes of a batch that nobody redeemed; return how many those were.

    Raises NOT_FOUND (`batch_not_found`).
    """
    of_batch = _codes.batch == batch
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        change = sa.update(tables.codes).where(
            of_batch, _codes.redeemed_ms.is_(None), _codes.revoked_ms.is_(None)
        )
        done = 0
        if batch.isprintable():
            done = (await connection.execute(change.values(revoked_ms=_now_ms()))).rowcount
        if not done and (
            not batch.isprintable()
            or await connection.scalar(sa.select(_codes.id).where(of_batch).limit(1)) is None
        ):
            message = "There is no such batch of codes. `groxy code list` shows them."
            raise GroxyError(ErrorKind.NOT_FOUND, message, param="batch", code="batch_not_found")
        await write_audit(connection, audit)
    return done


async def redeem_code(
    database: Database, secret: InstallationSecret, text: str, *, user_id: str, key_id: str = ""
) -> Redeemed:
    """Redeem a code for a user, whoever else tries at the same time.

    Raises BAD_REQUEST (`code_invalid`), which does not tell a wrong code from one that expired,
    was revoked, or was redeemed by somebody else; CONFLICT (`code_already_redeemed`) for one that
    this user redeemed.
    """
    body = _body_of(text)
    if body is None:
        raise _invalid()
    digest, now_ms = _digest(secret, body), _now_ms()
    async with database.transaction() as connection:
        row = (await connection.execute(_take(digest, user_id, now_ms))).first()
        if row is None:
            owner = await connection.scalar(
                sa.select(_codes.redeemed_by).where(_codes.digest == digest)
            )
            raise _yours() if owner == user_id else _invalid()
        entry = Entry(
            id=f"code:{row.id}",
            at_ms=now_ms,
            kind=Kind.REDEEM.value,
            debit="codes",
            credit=user_side(user_id),
            ticks=row.ticks,
            user_id=user_id,
            key_id=key_id,
            request_id="",
            note=f"code that ends in {row.hint}",
        )
        balances = await enter(connection, [entry])
    return Redeemed(
        code_id=row.id,
        ticks=row.ticks,
        balance_ticks=balances[user_side(user_id)][0],
        balances=balances,
    )


def _take(digest: bytes, user_id: str, now_ms: int) -> sa.UpdateBase:
    """Return what gives a code to a user, if it is nobody's yet and still good."""
    return (
        sa.update(tables.codes)
        .where(
            _codes.digest == digest,
            _codes.redeemed_ms.is_(None),
            _codes.revoked_ms.is_(None),
            sa.or_(_codes.expires_ms.is_(None), _codes.expires_ms > now_ms),
        )
        .values(redeemed_ms=now_ms, redeemed_by=user_id)
        .returning(_codes.id, _codes.ticks, _codes.hint)
    )


_LISTED = [column for column in tables.codes.c if column.name != "digest"]


def _row(code: Code, digest: bytes) -> dict[str, object]:
    values: dict[str, object] = {column.name: getattr(code, column.name) for column in _LISTED}
    return {**values, "digest": digest}


def _shown(body: str) -> str:
    groups = [body[start : start + _GROUP] for start in range(0, _LENGTH, _GROUP)]
    return "-".join([_PREFIX, *groups])


def _body_of(text: str) -> str | None:
    """Return a code without what is only for people; None for what cannot be one.

    Small letters, spaces, any dash, and the signs that look alike are taken.
    """
    if len(text) > MAX_CODE_CHARS:
        return None
    body = _BETWEEN.sub("", text).upper().translate(_MEANT)
    if len(body) == len(_PREFIX) + _LENGTH and body.startswith(_PREFIX.translate(_MEANT)):
        body = body[len(_PREFIX) :]
    return body if _BODY.fullmatch(body) else None


def _digest(secret: InstallationSecret, body: str) -> bytes:
    return secret.digest(f"code:{body}")


def _invalid() -> GroxyError:
    message = "This code is not valid. Check that it was typed whole, and not used before."
    return GroxyError(ErrorKind.BAD_REQUEST, message, param="code", code="code_invalid")


def _yours() -> GroxyError:
    message = "You have redeemed this code already; its credits are in your balance."
    return GroxyError(ErrorKind.CONFLICT, message, param="code", code="code_already_redeemed")


def _no_such_code() -> GroxyError:
    message = "There is no such code. `groxy code list` shows their ids."
    return GroxyError(ErrorKind.NOT_FOUND, message, code="code_not_found")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
