from groxy.admin.intake import Intake, Placed, add, sift
from groxy.store.accounts import AccountDraft, add_accounts
from tests.admin.office import key_of


def placed(*names, **draft):
    return [
        Placed(
            place=place,
            draft=AccountDraft(
                **{"upstream": "xai", "name": name, "api_key": key_of(name)} | draft
            ),
        )
        for place, name in enumerate(names)
    ]


async def test_what_settings_declare_is_not_added_to_the_store_as_well(office):
    declared = office.declare("one")
    intake = Intake()

    good = await sift(office.desk, placed("one", "two"), intake)

    assert [one.draft.name for one in good] == ["two"]
    assert [(twin.place, twin.account_id) for twin in intake.twins] == [(0, declared.id)]


async def test_the_same_key_at_another_address_is_another_account(office):
    office.declare("one")
    intake = Intake()

    good = await sift(
        office.desk, placed("two", api_key=key_of("one"), base_url="http://x/v1"), intake
    )

    assert (len(good), intake.twins) == (1, [])


async def test_accounts_without_a_key_are_told_apart_by_name(office):
    place = {"upstream": "openai_compatible", "api_key": "", "base_url": "http://127.0.0.1:9/v1"}
    office.declare("one", **place)
    intake = Intake()

    good = await sift(office.desk, placed("one", "two", **place), intake, is_dry=True)

    assert [one.draft.name for one in good] == ["two"]
    assert len(intake.twins) == 1


async def test_several_names_that_are_taken_fail_alone(office):
    taken = [
        AccountDraft(upstream="xai", name=name, api_key=f"xai-{name}") for name in ("a3", "a8")
    ]
    await add_accounts(office.desk.database, office.desk.secret, taken)
    intake = Intake()

    await add(office.desk, placed(*[f"a{number}" for number in range(10)]), intake)

    assert [fault.place for fault in intake.faults] == [3, 8]
    assert len(intake.added) == 8
    assert len(office.desk.directory) == 10


async def test_what_was_added_before_a_cancel_is_in_force(office, monkeypatch):
    monkeypatch.setattr("groxy.admin.intake._AT_A_TIME", 2)
    intake, told = Intake(), []

    async def on_each(count):
        told.append(count)

    await add(office.desk, placed("a", "b", "c", "d", "e"), intake, on_each, lambda: len(told) == 2)

    assert told == [2, 2]
    assert office.names == ["a", "b", "c", "d"]
