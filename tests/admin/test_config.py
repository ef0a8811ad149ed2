import pytest

from groxy.core.errors import ErrorKind, GroxyError
from tests.admin.window import opened
from tests.routing.fleet import account


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path, account()) as it:
        yield it


async def test_settings_are_shown_nested(window):
    assert (await window.get("/config")).json == {"routing": {"strategy": "quota"}}


async def test_settings_are_described(window):
    (setting,) = (await window.get("/config/schema")).json["settings"]

    assert setting == window.config.described()[0]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_change_is_told_and_in_the_audit(window, method):
    answer = await window.ask(method, "/config", body={"routing": {"strategy": "random"}})

    assert answer.json == {
        "status": "success",
        "message": "1 setting was changed.",
        "selection_strategy": "random",
        "changed": ["routing.strategy"],
    }
    assert window.config.patches == [{"routing": {"strategy": "random"}}]
    (line,) = await window.audit()
    assert (line.action, line.target) == ("config.change", "routing.strategy")
    assert line.before == {"routing.strategy": "quota"}
    assert line.after == {"routing.strategy": "random"}


async def test_what_is_sent_as_it_was_is_no_change(window):
    same = (await window.post("/config", {"routing": {"strategy": "quota"}})).json
    nothing = (await window.post("/config", {})).json

    assert same["changed"] == nothing["changed"] == []
    assert same["message"] == "0 settings were changed."


async def test_a_secret_that_would_be_set_is_not_in_the_audit(window):
    await window.post("/config", {"app": {"app_key": "adm-a-very-secret-key"}})

    assert "very-secret" not in repr(await window.audit())


async def test_a_patch_that_is_refused_changes_nothing_and_says_why(window):
    window.config.error = GroxyError(
        ErrorKind.BAD_REQUEST,
        "store.url is read at the start only; set it in the settings file and restart",
        param="store.url",
        code="startup_only_config",
    )
    answer = await window.post("/config", {"store": {"url": "sqlite:///x"}})

    assert (answer.status, answer.error["code"]) == (400, "startup_only_config")
    assert answer.error["param"] == "store.url"
    assert await window.audit() == []


@pytest.mark.parametrize("body", [[], "text", 1, None])
async def test_a_patch_that_is_no_object_is_refused(window, body):
    answer = await window.post("/config", body)

    assert (answer.status, answer.error["code"]) == (400, "invalid_value")
    assert window.config.patches == []
