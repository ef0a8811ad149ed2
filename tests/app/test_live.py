"""Settings that change while the gateway runs."""

import pytest

from groxy.core.errors import GroxyError
from groxy.routing.choice import Strategy
from groxy.store.overrides import read_overrides, write_overrides
from tests.inprocess import application, ask


async def test_a_change_is_in_force_at_once_and_in_the_store(tmp_path):
    async with application(tmp_path) as app:
        before, after = await app.live.patch({"routing": {"strategy": "random"}})

        assert (before, after) == (
            {"routing.strategy": "quota"},
            {"routing.strategy": "random"},
        )
        assert app.router.strategy is Strategy.RANDOM
        assert await read_overrides(app.database, app.secret) == {"routing.strategy": "random"}


async def test_every_part_follows_its_settings(tmp_path):
    patch = {
        "attempts": {
            "max_attempts": 7,
            "first_event_timeout_s": 9.0,
            "capacity_wait_s": 1.5,
            "also_rotate_on": [400],
            "hedge_percentile": 95.0,
            "connect_timeout_s": 3.0,
        },
        "cooling": {"down_s": 1.25},
        "refresh": {"every_s": 120.0, "at_once": 3},
        "routing": {"affinity": False, "max_in_flight": 4},
        "features": {"stream": True, "fetch_private": True},
        "aliases": {"mine": "grok-4.3"},
    }
    async with application(tmp_path) as app:
        await app.live.patch(patch)

        limits = app.gateway.limits
        assert (app.router.max_candidates, app.router.keeps_together) == (7, False)
        assert limits.deadlines.first_event_s == 9.0
        assert limits.rotation.also_on == {400}
        assert (limits.capacity_wait_s, limits.streams_by_default) == (1.5, True)
        assert app.gateway.hedger.rules.percentile == 95.0
        assert app.directory.rules.down_s == 1.25
        assert (app.refresher.schedule.every_s, app.refresher.schedule.at_once) == (120.0, 3)
        assert app.directory.accounts[0].most_in_flight == 4
        assert app.live.fetcher.allow_private
        assert (await ask(app, "GET", "/v1/models/mine")).status == 200


async def test_keys_of_the_settings_can_be_changed(tmp_path):
    async with application(tmp_path) as app:
        await app.live.patch({"app": {"api_key": "sk-another-one"}})
        await app.load_changes()

        assert (await ask(app, "GET", "/v1/models", key="sk-another-one")).status == 200
        assert (await ask(app, "GET", "/v1/models")).status == 401


async def test_a_change_can_be_taken_back(tmp_path):
    async with application(tmp_path, attempts__max_attempts=5) as app:
        await app.live.patch({"attempts": {"max_attempts": 7}})
        await app.live.patch({"attempts": {"max_attempts": None}})

        assert app.router.max_candidates == 5
        assert await read_overrides(app.database, app.secret) == {}


async def test_changes_survive_a_restart(tmp_path):
    async with application(tmp_path) as app:
        await app.live.patch({"attempts": {"max_attempts": 7}})
    async with application(tmp_path) as app:
        assert app.router.max_candidates == 7
        assert app.settings.attempts.max_attempts == 7


@pytest.mark.parametrize(
    ("patch", "code", "param"),
    [
        ({"server": {"port": 1}}, "startup_only_config", "server.port"),
        ({"featurs": {}}, "unknown_config_key", "featurs"),
        ({"attempts": {"max_attempts": "many"}}, "invalid_value", "attempts.max_attempts"),
    ],
)
async def test_a_change_that_cannot_be_changes_nothing(tmp_path, patch, code, param):
    async with application(tmp_path) as app:
        with pytest.raises(GroxyError) as caught:
            await app.live.patch({"routing": {"strategy": "random"}, **patch})

        assert (caught.value.code, caught.value.param) == (code, param)
        assert app.router.strategy is Strategy.QUOTA
        assert await read_overrides(app.database, app.secret) == {}


async def test_a_model_that_the_catalog_does_not_take_is_refused(tmp_path):
    async with application(tmp_path) as app:
        with pytest.raises(GroxyError):
            await app.live.patch({"models": {"mine": {"sends": 7}}})

        assert await read_overrides(app.database, app.secret) == {}


async def test_changes_that_no_longer_fit_do_not_keep_the_gateway_from_starting(tmp_path):
    async with application(tmp_path) as app:
        await write_overrides(app.database, app.secret, {"attempts.max_attempts": "many"})
    async with application(tmp_path) as app:
        assert app.router.max_candidates == 3
        await app.live.patch({"attempts": {"max_attempts": None}})


async def test_what_is_shown_has_no_secret(tmp_path):
    async with application(tmp_path) as app:
        shown = repr(app.live.shown()) + repr(app.live.described())

        assert "sk-in-process" not in shown
        assert "adm-in-process" not in shown
