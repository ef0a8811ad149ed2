import asyncio

import pytest

import groxy
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Status
from groxy.state.memory import MemoryState
from tests.admin.window import STARTED_AT, opened
from tests.routing.fleet import account


def standing(account_id, status):
    one = account(account_id)
    one.stand(status, "test", 0.0)
    return one


async def test_status_counts_accounts_by_how_they_stand(tmp_path):
    resting = account("acc_2")
    accounts = [account("acc_1"), resting, standing("acc_3", Status.EXPIRED)]
    accounts += [standing(f"acc_d{number}", Status.DISABLED) for number in range(2)]
    async with opened(tmp_path, *accounts) as window:
        window.desk.directory.rest(
            resting, window.desk.directory.now() + 60, ErrorKind.UPSTREAM_LIMITED
        )
        answer = await window.get("/status")

    told = answer.json
    assert told["accounts"] == {"active": 1, "cooling": 1, "expired": 1, "disabled": 2}
    assert (told["status"], told["size"], told["revision"]) == ("ok", 5, 7)
    assert (told["selection_strategy"], told["version"]) == ("quota", groxy.__version__)
    assert told["uptime_s"] > 1_000_000_000 - STARTED_AT


async def test_status_of_a_gateway_without_accounts_is_503(tmp_path):
    async with opened(tmp_path) as window:
        answer = await window.get("/status")

    assert (answer.status, answer.error["code"]) == (503, "directory_not_initialised")


async def test_counting_very_many_accounts_leaves_room_for_others(tmp_path):
    async with opened(tmp_path, *(account(f"acc_{number}") for number in range(10_000))) as window:
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.get_running_loop().create_task(other())
        answer = await window.get("/status")
        task.cancel()

    assert answer.json["accounts"]["active"] == 10_000
    assert turns >= 5


async def test_storage_says_what_is_used_and_that_it_answers(tmp_path):
    async with opened(tmp_path, account()) as window:
        told = (await window.get("/storage")).json

    assert (told["type"], told["state"]) == ("sqlite", "memory")
    assert told["store_reach"]["reachable"] is True
    assert told["store_reach"]["latency_ms"] >= 0
    assert told["state_reach"]["reachable"] is True


async def test_storage_says_what_cannot_be_reached(tmp_path):
    class Down(MemoryState):
        async def ping(self) -> None:
            raise GroxyError(ErrorKind.STORE_DOWN, "It is down.")

    async with opened(tmp_path, account(), state=Down(), state_kind="redis") as window:
        async with window.desk.database.transaction() as connection:
            await connection.exec_driver_sql("DROP TABLE revisions")
        answer = await window.get("/storage")

    unreachable = {"reachable": False, "latency_ms": None}
    assert answer.status == 200
    assert answer.json["store_reach"] == answer.json["state_reach"] == unreachable


@pytest.mark.parametrize(("revisions", "changed"), [([7, 7], False), ([7, 8], True)])
async def test_sync_reloads_and_says_whether_anything_changed(tmp_path, revisions, changed):
    left = list(revisions)
    async with opened(tmp_path, account(), revision=lambda: left.pop(0)) as window:
        told = (await window.post("/sync")).json

    assert told == {"changed": changed, "revision": revisions[1]}
    assert window.reloads == [1]
