import pytest

from groxy.admin.selection import Filter, Roll, normalised, select
from tests.admin.office import key_of


@pytest.mark.parametrize(
    ("pasted", "meant"),
    [
        ("xai-abc", "xai-abc"),
        (" xai-abc\n", "xai-abc"),
        ("sso=eyJ0", "eyJ0"),
        ("xai\u2010abc\u2014d\u2212e\uff0df", "xai-abc-d-e-f"),
        ("xai -\u00a0a\u2003b\u3000c", "xai-abc"),
        ("\ufeffxai-\u200babc\u00fc", "xai-abc"),
        ("xai-\x00a\x7fb", "xai-ab"),
        ("sso=", ""),
        ("\u00fc", ""),
    ],
)
def test_a_pasted_credential_is_what_it_was(pasted, meant):
    assert normalised(pasted) == meant


async def test_an_id_is_stronger_than_a_name_and_a_name_than_a_credential(office):
    one, two, three = await office.add("one", "two", "three")
    await office.ask("PATCH", f"/tokens/{two.id}", {"name": one.id})
    await office.ask("PATCH", f"/tokens/{three.id}", {"name": key_of("two")})

    found = await select(office.desk, [one.id, key_of("two"), "nobody"])

    assert {name: account.id for name, account in found.items()} == {
        one.id: one.id,
        key_of("two"): three.id,
    }


async def test_the_roll_follows_accounts_that_come_and_go(office):
    roll = Roll(office.desk.directory)
    for name in ("c", "a"):
        office.declare(name)
    before = list(roll.ids())

    office.declare("b")
    office.desk.directory.change([], ["c"])

    assert before == ["a", "c"]
    assert roll.ids() == ["a", "b"]


async def test_a_page_begins_after_an_account_that_is_gone(office):
    roll = Roll(office.desk.directory)
    for name in "abd":
        office.declare(name)

    found = await roll.page(Filter(), page=1, size=1, after="c")

    assert [account.id for account in found.accounts] == ["d"]
    assert not found.has_more
