import asyncio

import pytest

from groxy.cli.operator import AdminClient
from groxy.cli.tasks import followed
from groxy.core.errors import GroxyError

STARTED = {"task_id": "job_1", "total": 3}


class ScriptedDesk(AdminClient):
    """Tells of one task, and keeps what it is ordered to do."""

    def __init__(self, *events):
        self.events = events
        self.orders: list[str] = []

    async def follow(self, task_id):
        for event in self.events:
            yield event
        if not self.events:
            await asyncio.Event().wait()

    async def post(self, path, body=None, **query):
        self.orders.append(path)
        return {}


@pytest.mark.parametrize("last", ["done", "cancelled"])
async def test_the_last_event_of_a_task_is_its_outcome(last):
    desk = ScriptedDesk({"type": "progress", "processed": 1}, {"type": last, "result": {"ok": 3}})

    assert (await followed(desk, STARTED, "Working"))["result"] == {"ok": 3}
    assert desk.orders == []


async def test_a_task_that_failed_is_an_error_in_its_words():
    desk = ScriptedDesk({"type": "error", "error": "The store is away."})

    with pytest.raises(GroxyError, match=r"^The store is away\.$"):
        await followed(desk, STARTED, "Working")


async def test_who_breaks_off_the_command_stops_the_task():
    desk = ScriptedDesk()
    work = asyncio.get_running_loop().create_task(followed(desk, STARTED, "Working"))
    await asyncio.sleep(0)

    work.cancel()

    with pytest.raises(asyncio.CancelledError):
        await work
    assert desk.orders == ["/batch/job_1/cancel"]
