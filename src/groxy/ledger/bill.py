"""Bills: what a request that has ended comes to, as lines of the ledger.

In: its trail, and what its caller pays. Out: a sheet for the journal: one line for the charge, one
for what each attempt cost, so that the margin is what is left. Must not price anything, and must
not bill what did not happen: a charge or a cost of 0 is no line.
"""

from collections.abc import Sequence

import msgspec

from groxy.ledger.journal import Sheet
from groxy.ledger.trail import Trail, now_ms
from groxy.store.kept import KeptRow
from groxy.store.ledger import (
    COSTS,
    HELD,
    HOUSE,
    SALES,
    Entry,
    Kind,
    Move,
    upstream_side,
    user_side,
)


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller pays for one request."""

    ticks: int = 0
    user_id: str = ""
    """Who pays; empty for a key that belongs to nobody."""
    spends: Sequence[str] = ()
    """The balances in which it is counted against the caps of its key."""
    until_ms: Sequence[int | None] = ()
    """Of each of them: when nobody asks for it any more."""

    def moves(self, ticks: int, request_id: str) -> list[Move]:
        """Return by how much that moves the balances of its key's caps."""
        return [
            Move(name, ticks, until_ms, request_id)
            for name, until_ms in zip(self.spends, self.until_ms, strict=True)
        ]

    @property
    def payer(self) -> str:
        """The side of the books that pays."""
        return user_side(self.user_id) if self.user_id else HOUSE


NO_CHARGE = Charge()
_COST = Kind.COST.value


def sheet_of(
    trail: Trail,
    charge: Charge,
    *,
    outcome: str,
    status: int,
    is_owed: bool,
    kept: Sequence[KeptRow] = (),
) -> Sheet:
    """Return all that is to be entered of a request that has ended."""
    request, attempts = trail.entries(
        outcome=outcome,
        status=status,
        is_owed=is_owed,
        user_id=charge.user_id,
        charge_ticks=charge.ticks,
    )
    at_ms = now_ms()
    entries = [
        Entry(
            f"{trail.request_id}.{attempt.number}",
            at_ms,
            _COST,
            COSTS,
            upstream_side(attempt.account_id),
            attempt.cost_ticks,
            "",
            trail.key_id,
            trail.request_id,
            "",
        )
        for attempt in attempts
        if attempt.cost_ticks > 0
    ]
    if charge.ticks <= 0:
        return Sheet(request=request, attempts=attempts, kept=kept, entries=entries)
    entries.append(_line(trail, Kind.CHARGE, charge, f"{trail.request_id}.0", SALES))
    moves = charge.moves(-charge.ticks, trail.request_id)
    return Sheet(request=request, attempts=attempts, kept=kept, entries=entries, moves=moves)


def hold_of(trail: Trail, hold: Charge) -> tuple[list[Entry], list[Move]]:
    """Return what sets `hold` aside for a job: its lines, and how they move other balances."""
    if hold.ticks <= 0:
        return [], []
    line = _line(trail, Kind.HOLD, hold, f"{trail.request_id}.hold", HELD)
    return [line], hold.moves(-hold.ticks, trail.request_id)


def release_of(trail: Trail, hold: Charge) -> tuple[list[Entry], list[Move]]:
    """Return what gives back what `hold_of` set aside."""
    if hold.ticks <= 0:
        return [], []
    line = _line(trail, Kind.RELEASE, hold, f"{trail.request_id}.release", HELD)
    line = line._replace(debit=line.credit, credit=line.debit)
    return [line], hold.moves(hold.ticks, trail.request_id)


def released(sheet: Sheet, trail: Trail, hold: Charge) -> Sheet:
    """Return a sheet that also gives back what `hold_of` set aside."""
    lines, moves = release_of(trail, hold)
    if not lines:
        return sheet
    return msgspec.structs.replace(
        sheet, entries=[*sheet.entries, *lines], moves=[*sheet.moves, *moves]
    )


def _line(trail: Trail, kind: Kind, charge: Charge, name: str, to: str) -> Entry:
    return Entry(
        name,
        now_ms(),
        kind.value,
        charge.payer,
        to,
        charge.ticks,
        charge.user_id,
        trail.key_id,
        trail.request_id,
        "",
    )
