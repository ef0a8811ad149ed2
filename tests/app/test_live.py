"""Settings that change while the gateway runs."""

import asyncio

import pytest

from groxy.app import live, people
from groxy.core.errors import GroxyError
from groxy.routing.choice import Strategy
from groxy.store.keys import keys_since
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


async def test_only_the_changes_that_no_longer_fit_are_left_out(tmp_path):
    changes = {"attempts.max_attempts": "many", "app.app_key": "adm-replaced", "refresh.at_once": 3}
    async with application(tmp_path) as app:
        await write_overrides(app.database, app.secret, changes)
    async with application(tmp_path) as app:
        assert (app.router.max_candidates, app.refresher.schedule.at_once) == (3, 3)
        verify = ("GET", "/admin/api/verify")
        assert (await ask(app, *verify, key="adm-replaced")).status == 200
        assert (await ask(app, *verify, key="adm-in-process")).status == 401


async def test_of_two_changes_at_once_that_do_not_go_together_one_is_refused(tmp_path):
    longer, shorter = {"backoff_s": 0.9}, {"backoff_max_s": 0.4}
    async with application(tmp_path) as app:
        done = await asyncio.gather(
            app.live.patch({"attempts": longer}),
            app.live.patch({"attempts": shorter}),
            return_exceptions=True,
        )

        assert [isinstance(one, GroxyError) for one in done] == [False, True]
        assert await read_overrides(app.database, app.secret) == {"attempts.backoff_s": 0.9}


async def test_two_changes_at_once_are_both_in_force_when_they_are_done(tmp_path):
    async with application(tmp_path) as app:
        await asyncio.gather(
            app.live.patch({"attempts": {"max_attempts": 7}}),
            app.live.patch({"refresh": {"at_once": 3}}),
        )

        assert (app.router.max_candidates, app.refresher.schedule.at_once) == (7, 3)


async def test_a_change_is_taken_back_that_does_not_go_with_one_of_another_process(
    tmp_path, monkeypatch
):
    async def write(database, secret, changes):
        if "attempts.backoff_s" in changes:
            await write_overrides(database, secret, {"attempts.backoff_max_s": 0.4})
        return await write_overrides(database, secret, changes)

    async with application(tmp_path) as app:
        monkeypatch.setattr(live, "write_overrides", write)
        with pytest.raises(GroxyError) as caught:
            await app.live.patch({"attempts": {"backoff_s": 0.9}})

        assert caught.value.param == "attempts.backoff_max_s"
        assert app.settings.attempts.backoff_s == 0.05
        monkeypatch.undo()
        assert await read_overrides(app.database, app.secret) == {"attempts.backoff_max_s": 0.4}


async def test_a_change_that_is_taken_back_is_not_in_force_for_a_moment(tmp_path, monkeypatch):
    reading: list[asyncio.Task[None]] = []

    async def write(database, secret, changes):
        if "attempts.backoff_s" in changes:
            await write_overrides(database, secret, {"attempts.backoff_max_s": 0.4})
        written = await write_overrides(database, secret, changes)
        if not reading:
            reading.append(asyncio.create_task(app.live.load()))
            await asyncio.wait(reading, timeout=0.2)
        return written

    async with application(tmp_path) as app:
        monkeypatch.setattr(live, "write_overrides", write)
        with pytest.raises(GroxyError):
            await app.live.patch({"attempts": {"backoff_s": 0.9}})

        assert app.settings.attempts.backoff_s == 0.05
        await reading[0]
        assert app.settings.attempts.backoff_s == 0.05


async def test_a_replaced_key_is_gone_although_keys_were_being_read_meanwhile(
    tmp_path, monkeypatch
):
    async with application(tmp_path) as app:

        async def change_meanwhile(database, revision):
            monkeypatch.undo()
            found = await keys_since(database, revision)
            await app.live.patch({"app": {"api_key": "sk-another-one"}})
            return found

        monkeypatch.setattr(people, "keys_since", change_meanwhile)
        app.loader.forget_keys()
        await app.load_changes()
        await app.load_changes()

        assert (await ask(app, "GET", "/v1/models")).status == 401
        assert (await ask(app, "GET", "/v1/models", key="sk-another-one")).status == 200


async def test_open_mode_ends_as_soon_as_there_is_a_key_and_stays_ended(tmp_path):
    async with application(tmp_path, app__api_key="") as app:
        assert (await ask(app, "GET", "/v1/models", key=None)).status == 200
        await app.live.patch({"app": {"api_key": "sk-from-now-on"}})
        await app.load_changes()

        assert (await ask(app, "GET", "/v1/models", key=None)).status == 401
        assert (await ask(app, "GET", "/v1/models", key="sk-from-now-on")).status == 200
    async with application(tmp_path, app__api_key="") as app:
        assert (await ask(app, "GET", "/v1/models", key=None)).status == 401


async def test_open_mode_can_begin_while_the_gateway_runs(tmp_path):
    async with application(tmp_path) as app:
        await app.live.patch({"app": {"api_key": ""}})
        await app.load_changes()

        assert (await ask(app, "GET", "/v1/models", key=None)).status == 200
