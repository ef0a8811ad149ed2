from groxy.admin.callers import find_caller
from groxy.policy.keys import Caller, Keyring
from groxy.store.keys import KeyRole, create_key
from tests.admin.window import CALLER_KEY, SECRET, opened


async def test_a_caller_is_found_by_the_key_itself(tmp_path):
    async with opened(tmp_path) as window:
        found = await find_caller(window.desk, CALLER_KEY)

    assert found == Caller(key_id="key_of_a_caller", name="key_of_a_caller")


async def test_a_caller_is_found_by_the_id_of_a_stored_key(tmp_path):
    async with opened(tmp_path) as window:
        _, stored = await create_key(
            window.desk.database, SECRET, name="laptop", role=KeyRole.CALLER
        )
        found = await find_caller(window.desk, stored.id)

    assert found == Caller(key_id=stored.id, name="laptop")


async def test_nobody_is_found_by_anything_else_in_open_mode_too(tmp_path):
    everyone = Keyring(SECRET.digest, is_open=True)
    async with opened(tmp_path) as window:
        closed = await find_caller(window.desk, "sk-wrong")
    async with opened(tmp_path, callers=everyone) as window:
        free = await find_caller(window.desk, "sk-wrong")

    assert closed is free is None
