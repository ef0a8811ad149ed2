import time
from dataclasses import replace

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.media import (
    Stored,
    Sum,
    Wanted,
    add_media,
    delete_media,
    expired_media,
    files_of,
    find_media,
    known_media,
    media_after,
    oldest_beyond,
    page_of_media,
    sums_of_media,
)

NOW = time.time_ns() // 1_000_000


def name_of(number):
    return f"{number:032x}"


def thing(number=1, **changes):
    values = {
        "id": name_of(number),
        "kind": "image",
        "owner": "key_1",
        "name": "",
        "purpose": "",
        "content_type": "image/png",
        "size_bytes": 10,
        "etag": "e" * 64,
        "created_ms": NOW + number,
        "expires_ms": None,
    }
    return Stored(**{**values, **changes})


async def put_all(database, *things):
    for one in things:
        await add_media(database, one)
    return list(things)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kind": "file", "name": "größer 模型.pdf", "purpose": "user_data", "expires_ms": NOW},
        {"size_bytes": 2**40, "owner": "o" * 40, "content_type": "t" * 128},
    ],
    ids=["plain", "a file", "full columns"],
)
async def test_what_was_entered_is_found(database, changes):
    (one,) = await put_all(database, thing(**changes))

    assert await find_media(database, one.id) == one
    assert await find_media(database, name_of(2)) is None


async def test_names_that_a_database_cannot_hold_are_cut(database):
    await put_all(database, thing(name="a\0b\ud83d" + "c" * 999, purpose="p" * 999))

    found = await find_media(database, name_of(1))
    assert found is not None
    assert found.name.startswith("ab?c")
    assert (len(found.name), len(found.purpose)) == (255, 64)


async def test_an_id_that_is_taken_is_not_entered(database):
    await put_all(database, thing())
    with pytest.raises(GroxyError) as caught:
        await add_media(database, thing(owner="key_2"))
    assert caught.value.kind is ErrorKind.STORE_DOWN


async def test_a_page_is_of_one_kind_and_newest_first(database):
    things = await put_all(database, *(thing(number) for number in range(1, 6)))
    await put_all(database, thing(9, kind="video"))

    assert await page_of_media(database, "image", offset=0, limit=2) == (5, things[:2:-1])
    assert await page_of_media(database, "image", offset=4, limit=2) == (5, things[:1])
    assert await page_of_media(database, "image", offset=9, limit=2) == (5, [])
    assert await page_of_media(database, "file", offset=0, limit=2) == (0, [])


@pytest.mark.parametrize("newest_first", [True, False])
async def test_the_files_of_an_owner_are_read_page_by_page(database, newest_first):
    file = thing(kind="file", purpose="vision")
    mine = [
        # Two of the same moment are told apart by their ids.
        replace(file, id=name_of(number), created_ms=NOW + number // 2)
        for number in range(1, 6)
    ]
    await put_all(database, *mine)
    await put_all(
        database,
        replace(file, id=name_of(20), owner="key_2"),
        replace(file, id=name_of(21), kind="image"),
        replace(file, id=name_of(22), expires_ms=NOW),
    )
    wanted = Wanted(owner="key_1", now_ms=NOW, limit=2, newest_first=newest_first)
    found = []
    while page := await files_of(database, wanted):
        found += page
        wanted = replace(wanted, after=page[-1])

    assert found == (mine[::-1] if newest_first else mine)


async def test_files_are_found_by_what_they_are_for(database):
    one, _ = await put_all(
        database, thing(1, kind="file", purpose="a"), thing(2, kind="file", purpose="b")
    )
    assert await files_of(database, Wanted(owner="key_1", now_ms=NOW, limit=9, purpose="a")) == [
        one
    ]


async def test_deleting_tells_what_was_there(database):
    one, two, three = await put_all(database, thing(1), thing(2, kind="video"), thing(3))
    ids = [one.id, two.id, name_of(9)]

    assert await delete_media(database, ids, "image") == [one]
    assert await delete_media(database, ids) == [two]
    assert await delete_media(database, ids) == []
    assert await delete_media(database, []) == []
    assert await known_media(database, [one.id, two.id, three.id]) == {three.id}


async def test_sums_are_exact_to_the_byte(database):
    await put_all(
        database,
        thing(1, size_bytes=2**40 + 1),
        thing(2, size_bytes=3),
        thing(3, kind="video", size_bytes=0),
    )
    assert await sums_of_media(database) == {
        "image": Sum(2, 2**40 + 4),
        "video": Sum(1, 0),
        "file": Sum(0, 0),
    }


@pytest.mark.parametrize(
    ("keep", "gone"), [(50, []), (49, [1]), (40, [1]), (39, [1, 2]), (0, [1, 2, 3, 4])]
)
async def test_the_oldest_go_until_the_newest_fit(database, keep, gone):
    await put_all(database, *(thing(number) for number in range(1, 6)))
    await put_all(database, thing(6, kind="video", size_bytes=999))

    found = await oldest_beyond(database, "image", keep, but=name_of(5), limit=9)
    assert found == [name_of(number) for number in gone]


async def test_what_is_over_is_found(database):
    await put_all(
        database,
        thing(1, expires_ms=NOW),
        thing(2, expires_ms=NOW + 1),
        thing(3, created_ms=NOW - 100),
        thing(4, created_ms=NOW - 100, kind="file"),
        thing(5, created_ms=NOW - 50),
    )

    async def over(made_before_ms, limit=9):
        found = await expired_media(database, NOW, made_before_ms=made_before_ms, limit=limit)
        return sorted(int(one, 16) for one in found)

    assert await over(None) == [1]
    assert await over(NOW - 50) == [1, 3]
    assert len(await over(NOW - 50, limit=1)) == 1


async def test_ids_are_read_in_their_order(database):
    await put_all(database, *(thing(number) for number in (3, 1, 2)))

    assert await media_after(database, "", made_before_ms=NOW + 3, limit=9) == [
        name_of(1),
        name_of(2),
    ]
    assert await media_after(database, name_of(1), made_before_ms=NOW + 9, limit=1) == [name_of(2)]
