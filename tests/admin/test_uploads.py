from groxy.admin.uploads import delete_files, list_files, words_of
from groxy.core.errors import ErrorKind, GroxyError
from tests.admin.office import key_of

FILES = b'{"data": [{"id": "f1"}, {"id": "f2"}, {"id": "f3"}], "pagination_token": null}'


async def test_files_are_told_in_the_order_of_the_accounts(office):
    accounts = await office.add("one", "two")
    office.world.script[key_of("two"), "GET", "/files"] = (200, FILES)

    listed = await list_files(accounts, 1)

    assert [(one.account.name, len(one.files), one.error) for one in listed] == [
        ("one", 0, ""),
        ("two", 3, ""),
    ]


async def test_deleting_stops_when_it_is_cancelled(office):
    (one,) = await office.add("one")
    office.world.script["GET", "/files"] = (200, FILES)

    done = await delete_files(one, lambda: len(office.world.asked) > 2)

    assert (done.count, done.error) == (2, "")


async def test_an_upstream_that_repeats_the_key_does_not_get_it_shown(office):
    (one,) = await office.add("one")
    error = GroxyError(
        ErrorKind.UPSTREAM_AUTH, "It failed.", detail=f"Incorrect key {key_of('one')}."
    )

    words = words_of(one, error)

    assert words == f"upstream_auth_failed: Incorrect key {one.hint}."
