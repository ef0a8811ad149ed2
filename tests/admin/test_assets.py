import pytest

from groxy.routing.account import Status
from tests.admin.office import REJECTED, key_of

FILES = (
    b'{"data": [{"id": "file/1", "filename": "a.txt", "bytes": 12, "created_at": 1700000000},'
    b'{"id": ".."}], "pagination_token": null}'
)
DOWN = (503, b'{"error": "down"}')


async def test_files_are_listed_by_account(office):
    full, bad = await office.add("full", "bad")
    (other,) = await office.add("other", upstream="openrouter")
    office.world.script[key_of("full"), "GET", "/files"] = (200, FILES)
    office.world.script[key_of("bad"), "GET", "/files"] = REJECTED

    answer = (await office.get("/assets")).json

    listed = {one["id"]: one for one in answer["tokens"]}
    assert (answer["total_assets"], answer["pagination"]["total"]) == (2, 3)
    own = listed[full.id]
    assert (own["token"], own["masked"], own["count"], own["error"]) == (
        full.hint,
        full.hint,
        2,
        None,
    )
    assert own["assets"] == [
        {
            "id": "file/1",
            "name": "a.txt",
            "file_path": "/files/file%2F1",
            "content_type": "",
            "size": 12,
            "created_at": 1_700_000_000_000,
        },
        {
            "id": "..",
            "name": "",
            "file_path": "",
            "content_type": "",
            "size": 0,
            "created_at": None,
        },
    ]
    assert listed[bad.id]["error"].startswith("upstream_auth_failed")
    assert listed[other.id]["error"] == "no files at this upstream"
    assert listed[other.id]["count"] == 0
    assert bad.standing is Status.ACTIVE
    assert bad.failures == 0


async def test_files_are_listed_a_page_of_accounts_at_a_time(office):
    await office.add(*[f"a{number}" for number in range(5)], pool="basic")
    await office.add("b", pool="super")

    answer = (await office.get("/assets", "page=2&page_size=3&pool=basic&concurrency=1")).json

    assert len(answer["tokens"]) == 2
    assert answer["pagination"]["total_pages"] == 2
    assert len(office.world.asked) == 2
    assert office.world.most_open == 1


@pytest.mark.parametrize("query", ["concurrency=81", "page_size=0", "pool=x", "status=x", "page=0"])
async def test_what_can_be_no_page_is_refused(office, query):
    answer = await office.get("/assets", query)

    assert (answer.status, answer.error["param"]) == (400, query.partition("=")[0])


async def test_a_file_is_deleted_at_its_upstream_and_written_down(office):
    (one,) = await office.add("one")

    answer = await office.post("/assets/delete-item", {"token": "one", "asset_id": "file/1"})

    assert (answer.status, answer.json) == (200, {"status": "success"})
    assert office.world.asked == [(key_of("one"), "DELETE", "/files/file%2F1")]
    (line,) = await office.audited("asset.delete")
    assert (line.target, line.after) == (one.id, {"file": "file/1"})


async def test_a_file_that_there_is_not_is_not_found(office):
    await office.add("one")
    office.world.script["DELETE", "/files/gone"] = (404, b'{"error": "no such file"}')

    answers = [
        await office.post("/assets/delete-item", {"token": "one", "asset_id": name})
        for name in ("gone", "..")
    ]

    assert [(one.status, one.error["code"]) for one in answers] == [(404, "file_not_found")] * 2
    assert len(office.world.asked) == 1


@pytest.mark.parametrize("failure", [DOWN, REJECTED, (429, b'{"error": "slow down"}')])
async def test_an_upstream_that_fails_is_a_bad_gateway(office, failure):
    await office.add("one")
    office.world.script["DELETE", "/files/f"] = failure

    answer = await office.post("/assets/delete-item", {"token": "one", "asset_id": "f"})

    assert answer.status == 502
    assert await office.audited() == []


async def test_all_files_of_an_account_go_without_a_confirmation(office):
    await office.add("one")
    files = b'{"data": [{"id": "f1"}, {"id": "f2"}], "pagination_token": null}'
    office.world.script["GET", "/files"] = (200, files)
    office.world.script["DELETE", "/files/f1"] = (404, b"{}")

    answer = await office.post("/assets/clear-token", {"token": "one"})

    assert (answer.status, answer.json) == (200, {"status": "success", "deleted": 1})


async def test_what_was_deleted_before_a_failure_is_written_down(office):
    await office.add("one")
    files = b'{"data": [{"id": "f1"}, {"id": "f2"}], "pagination_token": null}'
    office.world.script["GET", "/files"] = (200, files)
    office.world.script["DELETE", "/files/f2"] = DOWN

    answer = await office.post("/assets/clear-token", {"token": "one", "confirm": True})

    assert answer.status == 502
    assert (await office.audited("asset.clear"))[0].after["deleted"] == 1


@pytest.mark.parametrize("path", ["delete-item", "clear-token"])
async def test_an_account_that_keeps_no_files_says_so(office, path):
    await office.add("other", upstream="openrouter")
    body = {"token": "other"} | ({"asset_id": "f"} if path == "delete-item" else {})

    answer = await office.post(f"/assets/{path}", body)

    assert (answer.status, answer.error["code"]) == (400, "no_files")


async def test_a_confirmation_that_says_no_is_taken_at_its_word(office):
    await office.add("one")

    answer = await office.post("/assets/clear-token", {"token": "one", "confirm": False})

    assert (answer.status, answer.error["code"]) == (400, "confirmation_required")
    assert office.world.asked == []
