import asyncio
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import kept as module, tables
from groxy.store.database import Database
from groxy.store.kept import PENDING, Kept, KeptStore
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)
SQLITE = "sqlite+aiosqlite:///groxy.db"
NOW = time.time_ns() // 1_000_000
DAY_MS = 86_400_000
CONTENT = "what was said: größer 模型".encode()
STRANGE_IDS = ["", "resp_", "RESP_1", "resp_1\0", "\ud83d", "%", "' OR '1'='1", "r" * 9_999, "模"]


def thing(name="resp_1", **changes):
    values = {
        "id": name,
        "kind": "reply",
        "owner": "key_1",
        "parent": None,
        "account_id": "acc_1",
        "state": "done",
        "created_ms": NOW,
        "expires_ms": NOW + DAY_MS,
        "content": CONTENT,
    }
    return Kept(**{**values, **changes})


@pytest.fixture
def store(database):
    return KeptStore(database, SECRET)


async def put_all(store, *things):
    for one in things:
        await store.put(one)
    return things


async def put_chain(store, length, **changes):
    names = [f"resp_{number}" for number in range(length)]
    parents = [None, *names]
    for name, parent in zip(names, parents, strict=False):
        await store.put(thing(name, parent=parent, content=name.encode(), **changes))
    return names


async def error_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    return caught.value


async def count(database):
    async with database.transaction() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(tables.kept))


# ----------------------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"content": b""},
        {"content": bytes(range(256)) * 20_000},
        {"parent": "p" * 64, "owner": "o" * 40, "kind": "k" * 16},
        {"state": PENDING, "lease_ms": NOW + 5},
        {"account_id": "", "owner": ""},
    ],
    ids=["plain", "empty", "five megabytes", "full columns", "pending", "no account"],
)
async def test_a_thing_comes_back_as_it_was_put(store, changes):
    (one,) = await put_all(store, thing(**changes))

    assert await store.get("resp_1", one.owner, one.kind) == one


@given(name=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_id_that_can_be_put_can_be_got(tmp_path, name):
    async def there_and_back():
        database = await Database.open("sqlite+aiosqlite:///:memory:", tmp_path)
        store = KeptStore(database, SECRET)
        await store.put(thing(name))
        found = await store.get(name, "key_1", "reply")
        await database.close()
        return found

    assert asyncio.run(there_and_back()) == thing(name)


@pytest.mark.parametrize("name", ["", "r" * 65, "resp\0", "resp\n", "模", "\ud83d"])
async def test_what_could_never_be_asked_for_is_not_put(store, database, name):
    with pytest.raises(ValueError, match="64 printable"):
        await store.put(thing(name))

    assert await count(database) == 0


async def test_an_id_that_is_taken_is_not_put_and_the_first_stays(store):
    await store.put(thing())

    error = await error_of(store.put(thing(owner="key_2", content=b"mine")))

    assert error.kind is ErrorKind.STORE_DOWN
    assert await store.get("resp_1", "key_1", "reply") == thing()
    assert await store.get("resp_1", "key_2", "reply") is None


async def test_what_was_put_is_there_after_a_restart(store_url, tmp_path):
    first = await Database.open(store_url, tmp_path)
    await KeptStore(first, SECRET).put(thing())
    await first.close()

    second = await Database.open(store_url, tmp_path)
    found = await KeptStore(second, SECRET).get("resp_1", "key_1", "reply")
    await second.close()

    assert found == thing()


@pytest.mark.parametrize(
    "wanted",
    [("resp_2", "key_1", "reply"), ("resp_1", "key_2", "reply"), ("resp_1", "key_1", "deferred")],
    ids=["another id", "another owner", "another kind"],
)
async def test_nobody_else_gets_a_thing(store, wanted):
    await store.put(thing())

    assert await store.get(*wanted) is None
    assert await store.many([wanted[0]], *wanted[1:]) == {}
    assert await store.take(*wanted) is None
    assert await store.delete(*wanted) is False
    assert (await error_of(store.chain(*wanted))).kind is ErrorKind.NOT_FOUND
    assert await store.get("resp_1", "key_1", "reply") == thing()


async def test_another_owners_thing_and_none_at_all_are_told_in_the_same_words(store):
    await store.put(thing())
    await store.put(thing("resp_2", expires_ms=NOW - 1))

    errors = [
        await error_of(store.chain(*wanted))
        for wanted in (
            ("resp_9", "key_2", "reply"),
            ("resp_1", "key_2", "reply"),
            ("resp_2", "key_1", "reply"),
            ("\0", "key_1", "reply"),
        )
    ]

    assert len({(error.kind, error.message, error.detail) for error in errors}) == 1


@pytest.mark.parametrize("name", STRANGE_IDS)
async def test_any_id_that_a_caller_makes_up_is_just_not_there(store, name):
    await store.put(thing())

    assert await store.get(name, "key_1", "reply") is None
    assert await store.many([name, "resp_1"], "key_1", "reply") == {"resp_1": thing()}
    assert await store.take(name, "key_1", "reply") is None
    assert await store.delete(name, "key_1", "reply") is False
    assert (await error_of(store.chain(name, "key_1", "reply"))).kind is ErrorKind.NOT_FOUND


async def test_what_has_expired_is_gone_before_it_is_purged(store, monkeypatch):
    await store.put(thing(expires_ms=NOW + 5))
    monkeypatch.setattr(time, "time_ns", lambda: (NOW + 4) * 1_000_000)
    before = await store.get("resp_1", "key_1", "reply")
    monkeypatch.setattr(time, "time_ns", lambda: (NOW + 5) * 1_000_000)
    after = [
        await store.get("resp_1", "key_1", "reply"),
        await store.take("resp_1", "key_1", "reply"),
        await store.delete("resp_1", "key_1", "reply"),
        await store.many(["resp_1"], "key_1", "reply"),
    ]
    error = await error_of(store.chain("resp_1", "key_1", "reply"))

    assert before is not None
    assert after == [None, None, False, {}]
    assert error.kind is ErrorKind.NOT_FOUND


# -------------------------------------------------------------------------------------- sealed


async def test_contents_are_nowhere_in_the_file(tmp_path):
    database = await Database.open(SQLITE, tmp_path)
    store = KeptStore(database, SECRET)
    await store.put(thing(content=b"very private words", state=PENDING))
    await store.replace("resp_1", "key_1", "done", b"even more so, these")
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    await database.close()
    on_disk += (tmp_path / "groxy.db").read_bytes()

    assert b"resp_1" in on_disk
    assert b"private words" not in on_disk
    assert b"even more so" not in on_disk


def test_a_content_is_not_shown_when_printed():
    assert "resp_1" in repr(thing())
    assert "said" not in repr(thing())


@pytest.mark.parametrize("changed", [{"owner": "key_2"}, {"id": "resp_2"}])
async def test_a_content_that_was_moved_to_another_does_not_open(store, database, changed):
    await store.put(thing())
    async with database.transaction() as connection:
        await connection.execute(sa.update(tables.kept).values(changed))
    wanted = {"id": "resp_1", "owner": "key_1", "kind": "reply"} | changed

    assert (await error_of(store.get(**wanted))).kind is ErrorKind.STORE_DOWN


async def test_contents_do_not_open_with_the_secret_of_another_installation(store, database):
    await store.put(thing())
    other = KeptStore(database, InstallationSecret(b"o" * 32))

    assert (await error_of(other.get("resp_1", "key_1", "reply"))).kind is ErrorKind.STORE_DOWN


async def test_an_error_of_the_database_does_not_repeat_the_content(store, database):
    async with database.transaction() as connection:
        await connection.execute(sa.text("ALTER TABLE kept RENAME TO moved"))

    error = await error_of(store.put(thing(content=b"very private words")))

    assert error.kind is ErrorKind.STORE_DOWN
    assert "private" not in error.detail + error.message
    assert "key_1" not in error.detail + error.message


# -------------------------------------------------------------------------------------- chains


@pytest.mark.parametrize("length", [1, 2, 7])
async def test_a_chain_is_a_thing_and_all_before_it_oldest_first(store, length):
    names = await put_chain(store, length)
    await store.put(thing("resp_x", parent="resp_0"))

    chain = await store.chain(names[-1], "key_1", "reply")

    assert [one.id for one in chain] == names
    assert [one.content.decode() for one in chain] == names


async def test_a_chain_can_begin_in_the_middle(store):
    await put_chain(store, 5)

    chain = await store.chain("resp_2", "key_1", "reply")

    assert [one.id for one in chain] == ["resp_0", "resp_1", "resp_2"]


async def test_two_chains_can_have_the_same_beginning(store):
    await put_chain(store, 2)
    await put_all(store, thing("a", parent="resp_1"), thing("b", parent="resp_1"))

    chains = [await store.chain(name, "key_1", "reply") for name in "ab"]

    assert [[one.id for one in chain][2:] for chain in chains] == [["a"], ["b"]]


@pytest.mark.parametrize("missing", ["resp_0", "resp_1"])
async def test_a_chain_with_a_deleted_link_says_so(store, missing):
    await put_chain(store, 3)
    await store.delete(missing, "key_1", "reply")

    error = await error_of(store.chain("resp_2", "key_1", "reply", param="previous_response_id"))

    assert (error.kind, error.param) == (ErrorKind.NOT_FOUND, "previous_response_id")
    assert "earlier reply" in error.message
    assert "deleted" in error.message


@pytest.mark.parametrize(
    "changes",
    [{"owner": "key_2"}, {"kind": "deferred"}, {"expires_ms": NOW - 1}],
    ids=["another owner", "another kind", "expired"],
)
async def test_a_link_that_is_not_ones_own_is_missing(store, changes):
    await put_all(store, thing("resp_0", **changes), thing(parent="resp_0"))

    error = await error_of(store.chain("resp_1", "key_1", "reply"))

    assert error.kind is ErrorKind.NOT_FOUND
    assert "earlier reply" in error.message


async def test_a_chain_may_have_as_many_links_as_are_allowed_and_no_more(store, monkeypatch):
    monkeypatch.setattr(module, "MAX_LINKS", 5)
    await put_chain(store, 6)

    longest = await store.chain("resp_4", "key_1", "reply")
    error = await error_of(store.chain("resp_5", "key_1", "reply", param="previous_response_id"))

    assert len(longest) == 5
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "previous_response_id")


async def test_a_chain_of_a_thousand_links_is_read(store, database):
    one = {**vars_of(thing()), "sealed": b""}
    rows = [
        {**one, "id": f"r{number}", "parent": f"r{number - 1}" if number else None}
        for number in range(1_001)
    ]
    for row in rows:
        row["sealed"] = SECRET.seal(row["id"].encode(), owner=f"{row['id']}:key_1")
    async with database.transaction() as connection:
        await connection.execute(sa.insert(tables.kept), rows)

    chain = await store.chain("r999", "key_1", "reply")
    error = await error_of(store.chain("r1000", "key_1", "reply"))

    assert [one.content.decode() for one in chain] == [f"r{number}" for number in range(1_000)]
    assert error.kind is ErrorKind.BAD_REQUEST


def vars_of(one):
    names = [column.name for column in tables.kept.columns if column.name != "sealed"]
    return {name: getattr(one, name) for name in names}


async def test_a_chain_that_bites_its_tail_ends(store):
    await put_all(store, thing("resp_1", parent="resp_2"), thing("resp_2", parent="resp_1"))

    assert (await error_of(store.chain("resp_1", "key_1", "reply"))).kind is ErrorKind.BAD_REQUEST


# ---------------------------------------------------------------------------------------- many


async def test_many_are_found_at_once(store):
    things = await put_all(store, *(thing(f"resp_{number}") for number in range(5)))
    await store.put(thing("theirs", owner="key_2"))
    wanted = ["resp_1", "resp_3", "resp_3", "nobody", "theirs"]

    found = await store.many(wanted, "key_1", "reply")

    assert found == {"resp_1": things[1], "resp_3": things[3]}


async def test_asking_for_none_finds_none(store):
    assert await store.many([], "key_1", "reply") == {}


async def test_five_hundred_can_be_asked_for_and_not_one_more(store):
    await store.put(thing())
    ids = ["resp_1", *(f"x{number}" for number in range(499))]

    assert await store.many(ids, "key_1", "reply") == {"resp_1": thing()}
    assert (await error_of(store.many([*ids, "y"], "key_1", "reply"))).kind is ErrorKind.BAD_REQUEST


# ------------------------------------------------------------------------- deleting and taking


async def test_a_deleted_thing_is_gone_and_others_stay(store, database):
    await put_all(store, thing("resp_1"), thing("resp_2"))

    gone = [await store.delete("resp_1", "key_1", "reply") for _ in "ab"]

    assert gone == [True, False]
    assert await store.get("resp_1", "key_1", "reply") is None
    assert await count(database) == 1


async def test_a_finished_thing_is_taken_once(store, database):
    await store.put(thing())

    taken = [await store.take("resp_1", "key_1", "reply") for _ in "ab"]

    assert taken == [thing(), None]
    assert await count(database) == 0


async def test_a_pending_thing_is_shown_but_stays(store):
    pending = thing(state=PENDING)
    await store.put(pending)

    assert [await store.take("resp_1", "key_1", "reply") for _ in "ab"] == [pending, pending]


async def test_of_many_who_take_at_once_one_gets_it(store):
    for name in map(str, range(5)):
        await store.put(thing(name))
        takers = (store.take(name, "key_1", "reply") for _ in range(8))

        taken = await asyncio.gather(*takers)

        assert [one for one in taken if one is not None] == [thing(name)]


# ----------------------------------------------------------------------------------- finishing


async def test_a_pending_thing_is_finished(store):
    pending = thing(state=PENDING, lease_ms=NOW + 5)
    await store.put(pending)

    assert await store.replace("resp_1", "key_1", "done", b"the reply") is True
    finished = replace(pending, state="done", content=b"the reply", lease_ms=None)
    assert await store.get("resp_1", "key_1", "reply") == finished


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ({"state": "done"}, ("resp_1", "key_1")),
        ({"state": PENDING}, ("resp_1", "key_2")),
        ({"state": PENDING}, ("resp_2", "key_1")),
    ],
    ids=["finished already", "another owner", "not there"],
)
async def test_only_ones_own_pending_thing_is_finished(store, there, wanted):
    await store.put(thing(**there))

    assert await store.replace(*wanted, "done", b"other") is False
    assert await store.get("resp_1", "key_1", "reply") == thing(**there)


async def test_of_many_who_finish_at_once_the_first_counts(store):
    await store.put(thing(state=PENDING))
    outcomes = [f"outcome {number}".encode() for number in range(6)]

    won = await asyncio.gather(
        *(store.replace("resp_1", "key_1", "done", content) for content in outcomes)
    )
    found = await store.get("resp_1", "key_1", "reply")

    assert won.count(True) == 1
    assert found.content == outcomes[won.index(True)]


async def test_a_lease_is_renewed_for_what_is_pending(store):
    await put_all(
        store,
        thing("a", state=PENDING, lease_ms=NOW),
        thing("b", state=PENDING, lease_ms=NOW),
        thing("c", state="done"),
        thing("d", state=PENDING, lease_ms=NOW),
    )

    renewed = await store.renew(["a", "b", "c", "nobody"], NOW + 9)
    found = await store.many("abcd", "key_1", "reply")

    assert renewed == 2
    leases = {name: one.lease_ms for name, one in found.items()}
    assert leases == {"a": NOW + 9, "b": NOW + 9, "c": None, "d": NOW}


async def test_who_renews_and_who_finishes_several_do_not_wait_for_each_other(store, database):
    await put_all(store, *(thing(name, state=PENDING, lease_ms=NOW) for name in "ab"))

    def finished(name):
        return sa.update(tables.kept).where(tables.kept.c.id == name).values(state="done")

    async with database.transaction() as connection:
        await connection.execute(finished("b"))
        renewing = asyncio.ensure_future(store.renew("ab", NOW + 9))
        await asyncio.sleep(0.2)
        await connection.execute(finished("a"))
    await renewing

    found = await store.many("ab", "key_1", "reply")
    assert {one.state for one in found.values()} == {"done"}


async def test_renewing_none_is_no_error(store):
    assert await store.renew([], NOW) == 0


# ------------------------------------------------------------------------------------- purging


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
async def test_what_has_expired_is_purged_and_no_more(store, database, monkeypatch, batch):
    monkeypatch.setattr(module, "_PURGE_ROWS", batch)
    moments = [NOW - 2, NOW - 1, NOW, NOW + 1, NOW + 2]
    await put_all(store, *(thing(str(at), expires_ms=at) for at in moments))

    purged = [await store.purge(NOW) for _ in "ab"]

    assert purged == [3, 0]
    assert await count(database) == 2


async def test_those_who_purge_at_once_do_not_disturb_each_other(store, database, monkeypatch):
    monkeypatch.setattr(module, "_PURGE_ROWS", 3)
    await put_all(store, *(thing(f"r{number}", expires_ms=NOW) for number in range(30)))

    purged = await asyncio.gather(*(store.purge(NOW) for _ in range(4)))

    assert sum(purged) == 30
    assert await count(database) == 0


async def test_what_expires_is_found_by_an_index(store, database):
    async with database.transaction() as connection:
        indexes = await connection.run_sync(
            lambda sync: sa.inspect(sync).get_indexes(tables.kept.name)
        )

    assert [index["column_names"] for index in indexes] == [["expires_ms"]]


async def test_rows_are_kept_all_or_none(store):
    await put_all(store, thing("resp_2", content=b"first"))
    rows = [store.row(thing("resp_1")), store.row(thing("resp_2"))]
    error = await error_of(store.keep(rows))
    assert error.kind is ErrorKind.STORE_DOWN
    assert set(await store.many(["resp_1", "resp_2"], "key_1", "reply")) == {"resp_2"}
    await store.keep([store.row(thing("resp_1")), store.row(thing("resp_3"))])
    assert (await store.get("resp_3", "key_1", "reply")).content == CONTENT


async def test_what_has_expired_makes_room_for_its_successor(store):
    await put_all(store, thing(expires_ms=NOW - 1))
    await store.keep([store.row(thing(content=b"newer"))])
    assert (await store.get("resp_1", "key_1", "reply")).content == b"newer"
