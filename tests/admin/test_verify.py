import pytest

from tests.inprocess import ADMIN_KEY, KEY, application, ask

PATH = "/admin/api/verify"


async def test_the_admin_key_is_right_as_bearer(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", PATH, key=ADMIN_KEY)

    assert (answer.status, answer.json) == (200, {"status": "success"})


async def test_the_admin_key_is_right_in_the_query(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", PATH, key=None, query=f"app_key={ADMIN_KEY}")

    assert answer.status == 200


@pytest.mark.parametrize("key", [None, KEY, "adm-wrong"])
async def test_anything_else_is_refused(tmp_path, key):
    async with application(tmp_path) as app:
        assert (await ask(app, "GET", PATH, key=key)).status == 401


async def test_a_wrong_header_is_not_mended_by_a_right_query(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", PATH, key="adm-wrong", query=f"app_key={ADMIN_KEY}")

    assert answer.status == 401


async def test_open_mode_opens_no_admin_path(tmp_path):
    async with application(tmp_path, app__api_key="") as app:
        assert (await ask(app, "GET", PATH, key=None)).status == 401
