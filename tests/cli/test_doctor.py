import asyncio

from groxy.store.database import Database
from groxy.store.overrides import write_overrides
from groxy.store.secrets import InstallationSecret


def change_live(data_dir, changes):
    """Do what the admin API does with changes of settings, in the store that `groxy` opens."""

    async def change():
        database = await Database.open(f"sqlite+aiosqlite:///{data_dir}/groxy.db", data_dir)
        try:
            await write_overrides(database, InstallationSecret.of(data_dir), changes)
        finally:
            await database.close()

    asyncio.run(change())


def line_of(shown, name):
    return next(line for line in shown.output.splitlines() if name in line)


def test_every_setting_is_shown_with_where_it_came_from(groxy, monkeypatch):
    monkeypatch.setenv("GROXY_SERVER__PORT", "9123")

    shown = groxy("doctor")

    assert shown.exit_code == 0
    line = line_of(shown, "server.port")
    assert "9123" in line
    assert "GROXY_SERVER__PORT" in line
    assert "default" in line_of(shown, "server.host")


def test_secrets_are_masked(groxy, monkeypatch):
    monkeypatch.setenv("GROXY_APP__API_KEY", "sk-very-secret")

    assert "sk-very-secret" not in groxy("doctor").output


def test_an_account_that_does_not_work_makes_the_doctor_fail(groxy):
    groxy(
        "account",
        "add",
        "far",
        "--upstream",
        "openai_compatible",
        "--base-url",
        "http://127.0.0.1:9",
    )

    shown = groxy("doctor")

    assert shown.exit_code == 1
    assert "upstream_unavailable" in shown.output


def test_the_sandbox_is_fine(groxy):
    shown = groxy("doctor").output

    assert "sandbox" in shown
    assert "ok" in shown


def test_what_the_operator_changed_live_is_shown_as_such(groxy, data_dir):
    groxy("doctor")
    change_live(data_dir, {"routing.strategy": "random", "app.api_key": "sk-very-secret"})

    shown = groxy("doctor")

    assert shown.exit_code == 0
    line = line_of(shown, "routing.strategy")
    assert "random" in line
    assert "admin API" in line
    assert "admin API" in line_of(shown, "app.api_key")
    assert "sk-very-secret" not in shown.output
    assert "default" in line_of(shown, "routing.affinity")


def test_a_live_change_that_fits_no_more_is_told_beside_the_settings(groxy, data_dir):
    groxy("doctor")
    change_live(data_dir, {"routing.strategy": "gone"})

    shown = groxy("doctor")

    assert shown.exit_code != 0
    assert "default" in line_of(shown, "routing.strategy")
    told = f"{shown.output} {shown.exception}"
    assert "changed through the admin API does not fit: routing.strategy must be" in told
