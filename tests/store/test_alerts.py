import pytest

from groxy.core.errors import GroxyError
from groxy.core.grants import UserGrant
from groxy.store.alerts import AlertBook
from groxy.store.kept import KeptStore
from groxy.store.ledger import Entry, enter
from groxy.store.secrets import InstallationSecret
from groxy.store.users import create_user


@pytest.fixture
def book(database):
    return AlertBook(database, KeptStore(database, InstallationSecret(b"s" * 32)))


async def user_of(database, ticks, **grant):
    user = await create_user(database, name="ada", grant=UserGrant(**grant))
    async with database.transaction() as connection:
        line = Entry(user.id, 1, "grant", "gifts", f"user:{user.id}", ticks, user.id, "", "", "")
        await enter(connection, [line])
    return user.id


async def test_who_is_below_a_bound_is_low(database, book):
    low = await user_of(database, 4)
    await user_of(database, 5)
    own = await user_of(database, 50, alert_below=51)
    await user_of(database, 4, alert_below=4)
    await create_user(database, name="nobody ever gave anything")

    found = {one.user_id: (one.ticks, one.bound_ticks) for one in await book.read(5)}

    assert found == {low: (4, 5), own: (50, 51)}
    assert [one.user_id for one in await book.read(0)] == [own]


async def test_who_was_told_is_known_until_it_is_forgotten(database, book):
    low = await user_of(database, 4)

    async def seen():
        return [(one.is_told, one.begun_ms is not None) for one in await book.read(5)]

    assert await seen() == [(False, False)]
    await book.begin(low)
    assert await seen() == [(False, True)]
    with pytest.raises(GroxyError):
        await book.begin(low)
    await book.end(low)
    assert await seen() == [(True, True)]
    (told,) = await book.read(0)
    assert not told.is_low
    await book.forget(low)
    assert await seen() == [(False, False)]
