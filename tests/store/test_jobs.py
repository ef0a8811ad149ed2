import asyncio
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.jobs import Job, JobStore
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)
NOW = time.time_ns() // 1_000_000
DAY_MS = 86_400_000
REQUEST = b'{"prompt":"a very private film"}'
STRANGE_IDS = ["", "video_", "video_1\0", "\ud83d", "%", "' OR '1'='1", "r" * 9_999, "模"]
MINUTE_MS = 60_000


def job(name="video_1", **changes):
    values = {
        "id": name,
        "kind": "film",
        "owner": "key_1",
        "status": "queued",
        "created_ms": NOW,
        "updated_ms": NOW,
        "expires_ms": NOW + DAY_MS,
        "request_id": "req_1",
    }
    return Job(**{**values, **changes})


@pytest.fixture
def store(database):
    return JobStore(database, SECRET)


async def put_all(store, *jobs):
    for one in jobs:
        await store.create(one, REQUEST)
    return list(jobs)


async def taken(store, holder="a", **changes):
    wanted = {"lease_ms": MINUTE_MS, "limit": 10, "kinds": ["film"], **changes}
    return [one.id for one in await store.take(holder, **wanted)]


async def count(database):
    async with database.transaction() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(tables.jobs))


# ----------------------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"id": "v" * 64, "owner": "o" * 40, "kind": "k" * 16, "media_id": "0" * 32},
        {"state": '{"seconds":6}', "upstream_id": "u" * 5_000, "progress": 100},
        {"cost_ticks": 2**60, "cost_source": "upstream", "completed_ms": NOW, "error": "größer"},
        {"lease_owner": "proc_1", "lease_until_ms": NOW + 5},
    ],
    ids=["plain", "full columns", "under way", "ended", "held"],
)
async def test_a_job_comes_back_as_it_was_created(store, changes):
    (one,) = await put_all(store, job(**changes))

    assert await store.find(one.id, one.owner) == one
    assert await store.request(one) == REQUEST


async def test_a_job_is_there_after_a_restart(store_url, tmp_path):
    first = await Database.open(store_url, tmp_path)
    await JobStore(first, SECRET).create(job(), REQUEST)
    await first.close()

    second = await Database.open(store_url, tmp_path)
    found = await JobStore(second, SECRET).find("video_1", "key_1")
    await second.close()

    assert found == job()


@pytest.mark.parametrize("name", ["", "r" * 65, "video\0", "video\n", "模", "\ud83d"])
async def test_what_could_never_be_asked_for_is_not_created(store, database, name):
    with pytest.raises(ValueError, match="64 printable"):
        await store.create(job(name), REQUEST)

    assert await count(database) == 0


async def test_an_id_that_is_taken_is_not_created_and_the_first_stays(store):
    await put_all(store, job())

    with pytest.raises(GroxyError) as caught:
        await store.create(job(owner="key_2"), b"mine")

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert await store.find("video_1", "key_1") == job()
    assert await store.find("video_1", "key_2") is None


@pytest.mark.parametrize("name", STRANGE_IDS)
async def test_any_id_that_a_caller_makes_up_is_just_not_there(store, name):
    await put_all(store, job())

    assert await store.find(name, "key_1") is None
    assert await store.delete(name, "key_1") is False
    assert await store.take_over(name, "key_1", "a", lease_ms=5) is None


async def test_nobody_else_can_see_or_touch_a_job(store):
    await put_all(store, job())

    assert await store.find("video_1", "key_2") is None
    assert await store.delete("video_1", "key_2") is False
    assert await store.take_over("video_1", "key_2", "a", lease_ms=5) is None
    assert await store.of_owner("key_2", kind="film", limit=10) == []
    assert await store.find("video_1", "key_1") == job()


async def test_requests_are_nowhere_in_the_database(store, database):
    await put_all(store, job())
    async with database.transaction() as connection:
        (row,) = (await connection.execute(sa.select(tables.jobs))).all()

    assert b"private" not in repr(tuple(row)).encode()


async def test_the_request_of_a_job_that_is_gone_is_not_found(store):
    with pytest.raises(GroxyError) as caught:
        await store.request(job())

    assert caught.value.kind is ErrorKind.NOT_FOUND


# ---------------------------------------------------------------------------------------- lists


@pytest.fixture
async def five(store):
    # Two of the same moment are told apart by their ids.
    at = [NOW, NOW, NOW + 1, NOW + 2, NOW + 3]
    jobs = [job(f"video_{n}", created_ms=ms) for n, ms in enumerate(at)]
    await put_all(
        store, *jobs, job("theirs", owner="key_2", created_ms=NOW + 9), job("other", kind="x")
    )
    return jobs


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_list_is_read_page_by_page(store, five, newest_first):
    found, after = [], ""
    while page := await store.of_owner(
        "key_1", kind="film", after=after, limit=2, newest_first=newest_first
    ):
        found += page
        after = page[-1].id

    assert found == (five[::-1] if newest_first else five)


async def test_a_list_behind_a_job_that_is_not_there_is_no_list(store, five):
    assert await store.of_owner("key_1", kind="film", after="theirs", limit=2) is None


# --------------------------------------------------------------------------------------- leases


async def test_the_oldest_jobs_are_taken_first_and_only_once(store, five):
    assert await taken(store, limit=2) == ["video_0", "video_1"]
    assert await taken(store, "b", limit=9) == ["video_2", "video_3", "video_4", "theirs"]
    assert await taken(store, "c") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"completed_ms": NOW},
        {"lease_owner": "b", "lease_until_ms": NOW + DAY_MS},
        {"kind": "other"},
    ],
    ids=["ended", "held", "another kind"],
)
async def test_what_is_not_to_be_done_is_not_taken(store, changes):
    await put_all(store, job(**changes))

    assert await taken(store) == []


async def test_a_job_whose_lease_is_over_is_taken_with_all_that_was_saved(store):
    await put_all(store, job())
    (first,) = await store.take("a", lease_ms=0, limit=1, kinds=["film"])
    assert await store.save(replace(first, upstream_id="up_1", progress=40), "a")

    (again,) = await store.take("b", lease_ms=MINUTE_MS, limit=1, kinds=["film"])

    assert (again.upstream_id, again.progress, again.lease_owner) == ("up_1", 40, "b")


async def test_who_lost_the_lease_saves_nothing(store):
    await put_all(store, job())
    (mine,) = await store.take("a", lease_ms=0, limit=1, kinds=["film"])
    await store.take("b", lease_ms=MINUTE_MS, limit=1, kinds=["film"])

    assert await store.save(replace(mine, status="completed", completed_ms=NOW), "a") is False
    found = await store.find("video_1", "key_1")
    assert found is not None
    assert (found.status, found.completed_ms, found.lease_owner) == ("queued", None, "b")


async def test_saving_keeps_what_never_changes_and_the_lease(store):
    await put_all(store, job(lease_owner="a", lease_until_ms=NOW + 5))
    changed = replace(
        job(), status="done", kind="x", request_id="y", created_ms=1, lease_until_ms=99
    )

    assert await store.save(changed, "a")
    expected = job(status="done", lease_owner="a", lease_until_ms=NOW + 5)
    assert await store.find("video_1", "key_1") == expected


async def test_a_request_can_be_let_go_of_when_a_job_ends(store):
    await put_all(store, job(lease_owner="a"))

    assert await store.save(job(status="completed"), "a")
    kept = await store.request(job())
    assert await store.save(job(status="completed"), "a", request=b"")

    assert (kept, await store.request(job())) == (REQUEST, b"")


async def test_leases_are_renewed_by_their_holder_only(store):
    await put_all(store, job("video_1", lease_owner="a"), job("video_2", lease_owner="b"))

    assert await store.renew(["video_1", "video_2", "x"], "a", lease_ms=MINUTE_MS) == {"video_1"}
    assert await store.renew([], "a", lease_ms=MINUTE_MS) == frozenset()
    assert await taken(store, "c") == ["video_2"]


async def test_what_is_let_go_can_be_taken_at_once_or_later(store):
    jobs = [job(name, lease_owner="a", lease_until_ms=NOW + DAY_MS) for name in ("v1", "v2", "v3")]
    await put_all(store, *jobs)

    await store.release(["v1"], "a")
    await store.release(["v2"], "a", until_ms=NOW + DAY_MS)
    await store.release(["v3"], "b")

    assert await taken(store, "c") == ["v1"]
    assert await store.save(jobs[1], "a") is False


async def test_a_job_can_be_taken_over_from_its_holder_unless_it_has_ended(store):
    await put_all(store, job(lease_owner="a", lease_until_ms=NOW + DAY_MS))

    mine = await store.take_over("video_1", "key_1", "b", lease_ms=MINUTE_MS)

    assert mine is not None
    assert await store.renew(["video_1"], "a", lease_ms=5) == frozenset()
    assert await store.save(replace(mine, status="cancelled", completed_ms=NOW), "b")
    assert await store.take_over("video_1", "key_1", "c", lease_ms=5) is None


async def test_a_job_whose_status_must_not_be_disturbed_is_not_taken_over(store):
    await put_all(store, job(status="submitting", lease_owner="a"))

    for busy, is_taken in ((("submitting", "cancelled"), False), (("cancelled",), True)):
        mine = await store.take_over("video_1", "key_1", "b", lease_ms=5, unless=busy)
        assert (mine is not None) is is_taken


async def test_of_many_who_take_at_once_each_job_goes_to_one(store):
    names = [f"video_{number:02}" for number in range(20)]
    await put_all(store, *map(job, names))

    parts = await asyncio.gather(*(taken(store, f"p{n}", limit=4) for n in range(8)))

    assert sorted(name for part in parts for name in part) == names


# -------------------------------------------------------------------------------------- the end


async def test_a_deleted_job_is_gone_and_its_worker_notices(store):
    await put_all(store, job(lease_owner="a"), job("video_2"))

    assert [await store.delete("video_1", "key_1") for _ in "ab"] == [True, False]
    assert await store.save(job(status="completed"), "a") is False
    assert await store.find("video_2", "key_1") == job("video_2")


async def test_a_job_that_expired_before_its_end_is_taken_so_that_it_ends(store, database):
    await put_all(store, job(expires_ms=NOW - 1))

    assert await store.purge(NOW) == 0
    assert await taken(store) == ["video_1"]


async def test_what_has_expired_is_gone_before_it_is_purged(store, database):
    await put_all(store, job(expires_ms=NOW - 1, completed_ms=NOW - 2), job("video_2"))

    assert await store.find("video_1", "key_1") is None
    assert await store.of_owner("key_1", kind="film", limit=9) == [job("video_2")]
    assert await store.purge(NOW) == 1
    assert await count(database) == 1


async def test_any_number_is_purged(store, database):
    await put_all(
        store,
        *(job(f"v{number}", expires_ms=NOW - 1, completed_ms=NOW - 2) for number in range(203)),
    )

    assert (await store.purge(NOW), await count(database)) == (203, 0)
