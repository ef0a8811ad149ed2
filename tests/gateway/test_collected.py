"""A reply asked for from inside is collected whole."""

import asyncio

import pytest

from groxy.gateway.collected import CollectedReply


async def test_all_pieces_are_kept_in_order() -> None:
    reply = CollectedReply()
    await reply.start(201, [(b"a", b"b")])
    await reply.send(b"one ", is_last=False)
    await reply.send(b"two", is_last=True)
    assert (reply.status, reply.headers, reply.body) == (201, [(b"a", b"b")], b"one two")


async def test_who_waits_inside_does_not_leave() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await CollectedReply().gone()
