"""What goes, what stays, and who waits for it."""

import asyncio
import time

import sqlalchemy as sa

from groxy.core.ids import new_request_id
from groxy.store import retention, tables
from groxy.store.audit import AuditEntry, list_audit, write_audit
from groxy.store.entries import last_requests
from groxy.store.ledger import Entry
from groxy.store.retention import Pruned, Pruner, RetentionRules, cutoff_ms, oldest_request_id
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.store.rows import attempt_entry, request_entry

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
NOW_MS = 20_000 * DAY_MS + 12 * HOUR_MS


def request_id(at_ms, number=0):
    return f"req_{at_ms:011x}{number:016x}"


def pair(at_ms, number=0, tries=1):
    name = request_id(at_ms, number)
    attempts = [attempt_entry(name, n + 1, at_ms=at_ms) for n in range(tries)]
    return request_entry(name, at_ms=at_ms, attempts=tries), attempts


async def write(database, pairs, **more):
    writer = entry_writer(database)
    requests = [one for one, _ in pairs]
    await writer.submit(Group(requests, [tried for _, each in pairs for tried in each], **more))
    await writer.close()


def pruner(database, **more):
    return Pruner(database, pause_s=0.0, **more)


async def ids_of(database):
    return sorted(line.id for line in await last_requests(database, 10_000))


async def count(database, table):
    async with database.transaction() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(table))


async def test_what_is_too_old_goes_with_its_attempts(database):
    old = [pair(NOW_MS - 90 * DAY_MS - 1, n, tries=2) for n in range(5)]
    young = [pair(NOW_MS - 90 * DAY_MS, n) for n in range(3)]
    await write(database, [*old, *young])

    pruned = await pruner(database).prune(RetentionRules(request_days=90), NOW_MS)

    assert pruned == Pruned(requests=5, attempts=10)
    assert await ids_of(database) == [one.id for one, _ in young]
    assert await count(database, tables.attempts) == 3


async def test_more_than_one_batch_goes_whole(database, monkeypatch):
    monkeypatch.setattr(retention, "BATCH_ROWS", 7)
    await write(database, [pair(NOW_MS - 100 * DAY_MS + n) for n in range(50)])

    pruned = await pruner(database).prune(RetentionRules(request_days=90), NOW_MS)

    assert (pruned.requests, pruned.attempts) == (50, 50)
    assert await pruner(database).prune(RetentionRules(request_days=90), NOW_MS) == Pruned()


async def test_attempts_without_a_request_go_too(database):
    _, attempts = pair(NOW_MS - 100 * DAY_MS)
    writer = entry_writer(database)
    await writer.submit(Group([], attempts))
    await writer.close()

    assert (await pruner(database).prune(RetentionRules(request_days=90), NOW_MS)).attempts == 1


async def test_without_a_bound_everything_stays(database):
    await write(database, [pair(1_000_000)])

    assert not (await pruner(database).prune(RetentionRules(), NOW_MS)).is_any
    assert len(await ids_of(database)) == 1


async def test_the_books_stay_whatever_goes(database):
    old_ms = NOW_MS - 100 * DAY_MS
    line = Entry("x.0", old_ms, "charge", "user:u", "sales", 5, "u", "key_1", "x", "")
    await write(database, [pair(old_ms)], entries=[line])
    books = (tables.entries, tables.balances, tables.usage_days)
    before = [await count(database, table) for table in books]

    kept = RetentionRules(request_days=1, request_max_mb=1, audit_days=1, statistics_days=1)
    assert (await pruner(database).prune(kept, NOW_MS)).requests == 1

    assert [await count(database, table) for table in books] == before
    assert all(before)


async def test_old_audit_lines_go(database, monkeypatch):
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    await write_audit(
        database, [AuditEntry(actor="a", action=f"act.{n}", target="t") for n in "12345"]
    )
    now_ms = time.time_ns() // 1_000_000

    assert not (await pruner(database).prune(RetentionRules(audit_days=1), now_ms)).is_any
    pruned = await pruner(database).prune(RetentionRules(audit_days=1), now_ms + DAY_MS + 10_000)

    assert pruned == Pruned(audit=5)
    assert await list_audit(database) == []


async def test_old_hours_of_models_go(database):
    await write(database, [pair(NOW_MS - days * DAY_MS) for days in (1, 50, 89, 91, 200)])
    rows = await count(database, tables.model_hours)

    pruned = await pruner(database).prune(RetentionRules(statistics_days=90), NOW_MS)

    assert pruned.hours == rows * 2 // 5
    assert await count(database, tables.model_hours) == rows * 3 // 5


async def test_it_can_be_ended_and_begun_again(database, monkeypatch):
    monkeypatch.setattr(retention, "BATCH_ROWS", 1)
    monkeypatch.setattr(retention, "_ASK_EVERY", 3)
    await write(database, [pair(NOW_MS - 100 * DAY_MS + n) for n in range(30)])
    answers = [True, True]

    async def goes_on():
        return bool(answers) and answers.pop()

    first = await pruner(database, goes_on=goes_on).prune(RetentionRules(request_days=90), NOW_MS)
    second = await pruner(database).prune(RetentionRules(request_days=90), NOW_MS)

    assert 0 < first.requests < 30
    assert first.requests + second.requests == 30


async def test_whoever_does_not_lead_deletes_nothing(database):
    await write(database, [pair(NOW_MS - 100 * DAY_MS)])

    async def never():
        return False

    assert not (
        await pruner(database, goes_on=never).prune(RetentionRules(request_days=90), NOW_MS)
    ).is_any
    assert len(await ids_of(database)) == 1


# ------------------------------------------------------------------------------------------ size


async def test_what_is_too_much_goes_oldest_first(database):
    """A megabyte holds some thousand requests; of 3,000 over three days about a third stays."""
    pairs = [pair(NOW_MS - 3 * DAY_MS + n * DAY_MS // 1000, n) for n in range(3000)]
    await write(database, pairs)

    pruned = await pruner(database).prune(RetentionRules(request_max_mb=1), NOW_MS)

    left = await ids_of(database)
    assert left == [one.id for one, _ in pairs[pruned.requests :]]
    assert 1000 < len(left) < 2000
    again = await pruner(database).prune(RetentionRules(request_max_mb=1), NOW_MS)
    assert again.requests < 100


async def test_what_fits_stays(database):
    await write(database, [pair(NOW_MS - n * DAY_MS) for n in range(30)])

    assert await cutoff_ms(database, RetentionRules(request_max_mb=1), NOW_MS) == 0


async def test_nothing_of_the_last_hour_goes_however_much_it_is(database, monkeypatch):
    monkeypatch.setattr(retention, "_MB", 1)
    await write(database, [pair(NOW_MS - n * 60_000) for n in range(100)])

    await pruner(database).prune(RetentionRules(request_max_mb=1), NOW_MS)

    assert len(await ids_of(database)) == 61


async def test_age_and_size_both_count(database):
    await write(database, [pair(NOW_MS - n * DAY_MS) for n in range(30)])

    both = await cutoff_ms(database, RetentionRules(request_days=10, request_max_mb=1), NOW_MS)

    assert both == NOW_MS - 10 * DAY_MS


async def test_an_empty_database_needs_no_pruning(database):
    kept = RetentionRules(request_days=1, request_max_mb=1, audit_days=1, statistics_days=1)

    assert not (await pruner(database).prune(kept, NOW_MS)).is_any
    assert await oldest_request_id(database) is None


async def test_the_oldest_request_is_known(database):
    await write(database, [pair(NOW_MS - 5), pair(NOW_MS - 9), pair(NOW_MS)])

    assert await oldest_request_id(database) == request_id(NOW_MS - 9)


# --------------------------------------------------------------------------------------- others


async def test_who_writes_meanwhile_hardly_waits(database):
    """The figures are in docs/decisions/0017; here it must only never be long."""
    await write(database, [pair(NOW_MS - 100 * DAY_MS + n) for n in range(3000)])
    writer = entry_writer(database)
    work = asyncio.get_running_loop().create_task(
        Pruner(database, pause_s=0.005).prune(RetentionRules(request_days=90), NOW_MS)
    )
    waits = []
    while not work.done():
        began = time.perf_counter()
        await writer.submit(Group([request_entry(new_request_id(), at_ms=NOW_MS)], []))
        waits.append(time.perf_counter() - began)
        await asyncio.sleep(0.002)
    await writer.close()

    assert (await work).requests == 3000
    assert len(waits) > 20
    assert sorted(waits)[len(waits) * 9 // 10] < 0.25


async def test_the_estimate_is_near_the_truth(database, tmp_path):
    await write(database, [pair(NOW_MS + n, n) for n in range(4000)])
    async with database.transaction() as connection:
        query = (
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            if database.is_sqlite
            else "SELECT pg_total_relation_size('requests') + pg_total_relation_size('attempts')"
        )
        real = await connection.scalar(sa.text(query)) / 4000

    assert 0.6 < await retention._bytes_of_one(database) / real < 1.7
