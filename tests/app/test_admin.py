import asyncio
import subprocess
import sys

from tests.inprocess import ADMIN_KEY, application, ask

_IMPORTED = """
import sys
import groxy.app, groxy.cli.serve
print("fastapi" in sys.modules)
"""


def test_a_gateway_that_nobody_administers_does_not_load_the_framework():
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"


async def test_first_requests_at_the_same_time_are_all_answered(tmp_path):
    async with application(tmp_path) as app:
        answers = await asyncio.gather(
            *(ask(app, "GET", "/admin/api/verify", key=ADMIN_KEY) for _ in range(10))
        )

        assert [answer.status for answer in answers] == [200] * 10


async def test_the_pages_are_there_only_when_the_operator_wants_them(tmp_path):
    async with application(tmp_path) as app:
        assert (await ask(app, "GET", "/docs", key=None)).status == 404
        await app.live.patch({"admin": {"docs": True}})

        assert (await ask(app, "GET", "/docs", key=None)).status == 200
        document = await ask(app, "GET", "/openapi.json", key=None)
        assert "/admin/api/tokens" in document.json["paths"]
