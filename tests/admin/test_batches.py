import asyncio

import pytest

from groxy.core.terms import Terms
from groxy.routing.account import Status
from groxy.store.accounts import remove_accounts
from tests.admin.office import ADMIN_KEY, REJECTED, events_of, key_of, open_office

DOWN = (503, b'{"error": "down"}')
FILES = b'{"data": [{"id": "f1", "filename": "a.txt"}, {"id": "f2"}], "pagination_token": null}'


async def ended(office, answer):
    """Return the document of a job when it has ended."""
    assert answer.status == 200
    async with asyncio.timeout(10):
        await office.settle()
    return (await office.get(f"/batch/{answer.json['task_id']}")).json


# ------------------------------------------------------------------------------------- at once


@pytest.mark.parametrize("is_known", [True, False])
async def test_one_that_was_removed_meanwhile_keeps_no_other_from_the_tag(
    office, monkeypatch, is_known
):
    one, gone, two = await office.add("one", "gone", "two")
    note = office.desk.changing.acquire

    async def remove_first():
        await remove_accounts(office.desk.database, [gone.id])
        if is_known:
            await office.desk.reload()
        return await note()

    monkeypatch.setattr(office.desk.changing, "acquire", remove_first)
    answer = await office.post("/batch/nsfw", {"tokens": [one.id, gone.id, two.id]})

    assert answer.json["summary"] == {"total": 3, "ok": 2, "fail": 1}
    assert "error" in answer.json["results"][gone.id]
    assert [office.account(name).terms.tags for name in ("one", "two")] == [("nsfw",)] * 2


async def test_a_refresh_tells_of_each_account_by_id_and_mask(office):
    good, bad, slow = await office.add("good", "bad", "slow")
    office.world.script[key_of("bad"), "GET", "/api-key"] = REJECTED
    office.world.script[key_of("slow"), "GET", "/api-key"] = DOWN
    office.world.script[key_of("slow"), "GET", "/language-models"] = DOWN
    office.world.script[key_of("slow"), "GET", "/models"] = DOWN

    answer = await office.post("/batch/refresh", {"tokens": [good.id, "bad", key_of("slow")]})

    assert answer.status == 200
    assert answer.json["summary"] == {
        "total": 3,
        "ok": 1,
        "fail": 2,
        "expired": 1,
        "transient": 1,
    }
    results = answer.json["results"]
    assert results[good.id] == {
        "token": good.hint,
        "name": "good",
        "refreshed": 2,
        "expired": False,
    }
    assert results[bad.id]["expired"]
    assert not results[slow.id]["expired"]
    assert bad.standing is Status.EXPIRED
    assert (await office.audited("batch.refresh"))[0].after["fail"] == 2


async def test_accounts_get_the_tag_and_lose_it(office):
    one, two = await office.add("one", "two", terms=Terms(tags=("mine",)))
    declared = office.declare("declared")

    on = await office.post("/batch/nsfw", {"tokens": [one.id, two.id, "declared"]})
    tags = [office.account(name).terms.tags for name in ("one", "two")]
    off = await office.post("/batch/nsfw", {"tokens": [one.id]}, "enabled=false")

    assert on.json["summary"] == {"total": 3, "ok": 2, "fail": 1}
    assert on.json["results"][one.id]["nsfw"] is True
    assert "settings" in on.json["results"][declared.id]["error"]
    assert tags == [("mine", "nsfw")] * 2
    assert off.json["results"][one.id]["nsfw"] is False
    assert office.account("one").terms.tags == ("mine",)
    assert office.account("two").terms.tags == ("mine", "nsfw")


async def test_an_account_with_all_the_tags_it_can_have_gets_no_other(office):
    (one,) = await office.add("one", terms=Terms(tags=tuple("abcdefghij")))

    answer = await office.post("/batch/nsfw", {"tokens": [one.id]})

    assert answer.json["summary"]["fail"] == 1
    assert len(office.account("one").terms.tags) == 10


async def test_the_files_of_accounts_are_deleted_at_their_upstreams(office):
    full, empty = await office.add("full", "empty")
    (other,) = await office.add("other", upstream="openrouter")
    office.world.script[key_of("full"), "GET", "/files"] = (200, FILES)

    answer = await office.post("/batch/cache-clear", {"tokens": [full.id, empty.id, other.id]})

    counts = {name: result["deleted"] for name, result in answer.json["results"].items()}
    assert counts == {full.id: 2, empty.id: 0, other.id: 0}
    deleted = [path for _, method, path in office.world.asked if method == "DELETE"]
    assert deleted == ["/files/f1", "/files/f2"]


async def test_an_upstream_that_fails_while_files_go_is_told(office):
    (full,) = await office.add("full")
    office.world.script[key_of("full"), "GET", "/files"] = (200, FILES)
    office.world.script["DELETE", "/files/f2"] = DOWN

    answer = await office.post("/batch/cache-clear", {"tokens": [full.id]})

    result = answer.json["results"][full.id]
    assert result["deleted"] == 1
    assert result["error"].startswith("upstream_unavailable")
    assert answer.json["summary"] == {"total": 1, "ok": 0, "fail": 1}


async def test_only_accounts_in_service_are_meant(office):
    works, rests, off = await office.add("works", "rests", "off")
    await office.desk.overseer.disable([off])
    office.desk.overseer.cool(rests, for_s=100)

    answer = await office.post("/batch/refresh", {}, "all_manageable=true")

    assert set(answer.json["results"]) == {works.id, rests.id}


async def test_not_more_than_asked_for_go_at_once(office):
    await office.add(
        *[f"a{number}" for number in range(9)],
        upstream="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
    )

    await office.post("/batch/cache-clear", {}, "all_manageable=true&concurrency=3")

    assert office.world.most_open == 3


@pytest.mark.parametrize(
    ("body", "query", "code", "param"),
    [
        ({}, "", "no_tokens", "tokens"),
        ({"tokens": []}, "", "no_tokens", "tokens"),
        ({"tokens": ["one"]}, "all_manageable=true", "invalid_value", "all_manageable"),
        ({"tokens": ["off"]}, "", "no_manageable_tokens", "tokens"),
        ({"tokens": ["nobody"]}, "", "no_manageable_tokens", "tokens"),
        ({"tokens": ["one"]}, "concurrency=0", "invalid_concurrency", "concurrency"),
        ({"tokens": ["one"]}, "concurrency=81", "invalid_concurrency", "concurrency"),
        ({"tokens": ["one"]}, "concurrency=x", "invalid_concurrency", "concurrency"),
        ({"tokens": [f"t{n}" for n in range(1001)]}, "", "too_many_tokens", "tokens"),
    ],
)
@pytest.mark.parametrize("path", ["nsfw", "refresh", "cache-clear"])
async def test_what_cannot_be_meant_is_refused(office, path, body, query, code, param):
    await office.add("one")
    await office.desk.overseer.disable(await office.add("off"))

    answer = await office.post(f"/batch/{path}", body, query)

    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)


# ---------------------------------------------------------------------------------------- as jobs


async def test_a_job_tells_its_steps_and_its_end_as_events(office):
    accounts = await office.add("one", "two")
    started = await office.post("/batch/refresh", {}, "all_manageable=true&async=true")
    task_id = started.json["task_id"]
    assert started.json == {"status": "success", "task_id": task_id, "total": 2}

    stream = await office.get(f"/batch/{task_id}/stream")

    assert stream.headers["content-type"].startswith("text/event-stream")
    events = events_of(stream.body)
    assert [event["type"] for event in events] == ["snapshot", "progress", "progress", "done"]
    assert (events[0]["total"], events[0]["status"]) == (2, "running")
    assert {event["item"] for event in events[1:3]} == {one.id for one in accounts}
    assert [event["processed"] for event in events[1:3]] == [1, 2]
    assert events[3]["ok"] == 2
    assert set(events[3]["result"]["results"]) == {one.id for one in accounts}


async def test_a_job_that_has_ended_can_still_be_looked_at(office):
    await office.add("one")

    task = await ended(office, await office.post("/batch/nsfw", {"tokens": ["one"]}, "async=true"))
    events = events_of((await office.get(f"/batch/{task['task_id']}/stream")).body)

    assert (task["status"], task["processed"], task["kind"]) == ("done", 1, "batch.nsfw.on")
    assert task["result"]["summary"] == {"total": 1, "ok": 1, "fail": 0}
    assert [event["type"] for event in events] == ["snapshot", "done"]


async def test_a_cancelled_job_finishes_what_is_under_way_and_begins_nothing_more(office):
    names = [f"a{number}" for number in range(5)]
    await office.add(*names)
    gate = asyncio.Event()
    office.world.waits = {key_of(name): gate for name in names}
    started = await office.post(
        "/batch/cache-clear", {}, "all_manageable=true&async=true&concurrency=2"
    )
    task_id = started.json["task_id"]
    while office.world.open < 2:
        await asyncio.sleep(0.01)

    cancelled = await office.post(f"/batch/{task_id}/cancel")
    await asyncio.sleep(0.5)
    gate.set()
    task = await ended(office, started)

    assert cancelled.json == {"status": "success"}
    assert (task["status"], task["processed"]) == ("cancelled", 2)
    assert len(task["result"]["results"]) == 2
    assert events_of((await office.get(f"/batch/{task_id}/stream")).body)[-1]["type"] == "cancelled"


async def test_another_process_shows_and_cancels_a_job(office, tmp_path):
    await office.add("one", "two")
    gate = asyncio.Event()
    office.world.waits = {key_of("one"): gate, key_of("two"): gate}
    started = await office.post(
        "/batch/cache-clear", {}, "all_manageable=true&async=true&concurrency=1"
    )
    task_id = started.json["task_id"]
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    async with open_office(other_folder, state=office.desk.state) as other:
        following = asyncio.create_task(other.get(f"/batch/{task_id}/stream"))
        await asyncio.sleep(0.3)
        assert (await other.post(f"/batch/{task_id}/cancel")).status == 200
        await asyncio.sleep(0.5)
        gate.set()
        async with asyncio.timeout(10):
            stream = await following

    assert [event["type"] for event in events_of(stream.body)][-1] == "cancelled"


async def test_a_job_whose_work_fails_ends_with_an_error(office, monkeypatch):
    await office.add("one")

    async def broken(*_, **__):
        raise RuntimeError("secret words")

    monkeypatch.setattr(type(office.desk.refresher), "refresh", broken)
    started = await office.post("/batch/refresh", {"tokens": ["one"]}, "async=true")
    task = await ended(office, started)
    stream = await office.get(f"/batch/{task['task_id']}/stream")

    assert task["status"] == "error"
    assert events_of(stream.body)[-1]["type"] == "error"
    assert b"secret words" not in stream.body


async def test_a_job_of_a_process_that_stops_says_so(office):
    await office.add("one")
    office.world.waits = {key_of("one"): asyncio.Event()}
    started = await office.post("/batch/cache-clear", {"tokens": ["one"]}, "async=true")
    while not office.world.open:
        await asyncio.sleep(0.01)

    for task in tuple(office.tasks):
        task.cancel()
    await asyncio.gather(*office.tasks, return_exceptions=True)
    task = (await office.get(f"/batch/{started.json['task_id']}")).json

    assert task["status"] == "error"
    assert "stopped" in task["error"]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/stream"), ("POST", "/cancel")])
async def test_a_task_that_there_is_not_is_not_found(office, method, path):
    answer = await office.ask(method, f"/batch/job_none{path}")

    assert (answer.status, answer.error["code"]) == (404, "task_not_found")


async def test_the_key_may_come_in_the_address_as_event_sources_send_it(office):
    await office.add("one")
    started = await office.post("/batch/nsfw", {"tokens": ["one"]}, "async=true")
    path = f"/batch/{started.json['task_id']}/stream"

    answer = await office.get(path, f"app_key={ADMIN_KEY}", key=None)

    assert answer.status == 200
