"""Requests leave nothing behind that only the garbage collector would free: it cost a fifth of the
CPU time once."""

import asyncio
import gc
from collections import Counter

import pytest

from tests.inprocess import application, ask


def say(text, **more):
    return {"model": "grok-4.3", "messages": [{"role": "user", "content": text}], **more}


ASKED = {
    "whole": ("chat/completions", say("Hello")),
    "stream": ("chat/completions", say("Hello", stream=True)),
    "tools": (
        "chat/completions",
        say("Hello", tools=[{"type": "function", "function": {"name": "f"}}]),
    ),
    "messages": ("messages", say("Hello", max_tokens=64)),
    "messages stream": ("messages", say("Hello", max_tokens=64, stream=True)),
    "responses": ("responses", {"model": "grok-4.3", "input": "Hello"}),
    "responses stream": ("responses", {"model": "grok-4.3", "input": "Hello", "stream": True}),
    "completions": ("completions", {"model": "grok-4.3", "prompt": "Hello"}),
    "embeddings": ("embeddings", {"model": "v1", "input": "Hello"}),
    "unknown model": ("chat/completions", say("Hello") | {"model": "no-such"}),
    "no JSON": ("chat/completions", b"{"),
    "failing": ("chat/completions", say("Hello [[sandbox: status=502]]")),
    "cut": ("chat/completions", say("Hello [[sandbox: cut_after=3]]", stream=True)),
}


@pytest.fixture
async def app(tmp_path):
    async with application(tmp_path) as it:
        yield it


@pytest.mark.parametrize("asked", ASKED)
async def test_a_request_leaves_no_garbage(app, asked):
    path, body = ASKED[asked]
    for _ in range(3):  # what is made once and remembered
        await ask(app, "POST", f"/v1/{path}", body=body)
    await asyncio.sleep(0.05)
    gc.freeze()  # What the tests before left is nobody's business here, and takes a second to walk.
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(5):
            await ask(app, "POST", f"/v1/{path}", body=body)
        await asyncio.sleep(0)
        gc.collect()
        # Ours only: SQLAlchemy, which looks for changes meanwhile, leaves a little.
        left = Counter(
            type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith("groxy")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()

    assert left == {}
