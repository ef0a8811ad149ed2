import pytest

from groxy.core.errors import ErrorKind, GroxyError
from tests.admin.office import key_of


async def test_accounts_are_found_by_whatever_they_are_called_each_once(office):
    one, two, three = await office.add("one", "two", "three")

    found = office.desk.find([two.id, " one ", key_of("three"), "nobody", "two"])

    assert found == [two, one, three]


async def test_an_account_that_is_not_there_is_not_found(office):
    with pytest.raises(GroxyError) as caught:
        office.desk.account("nobody")

    assert (caught.value.kind, caught.value.code) == (ErrorKind.NOT_FOUND, "account_not_found")


async def test_between_long_transactions_others_may_write_where_there_is_one_writer(
    office, monkeypatch
):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr("groxy.admin.desk.asyncio.sleep", sleep)
    for took_s in (0.001, 0.12, 5.0):
        await office.desk.give_way(took_s)
    monkeypatch.setattr(type(office.desk.database), "is_sqlite", False)
    await office.desk.give_way(5.0)

    assert pauses == [0.05, 0.06, 0.1]
