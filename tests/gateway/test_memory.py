"""What is kept for a caller is for nobody else, and comes back whole."""

import json
from typing import Any, cast

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Text
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.gateway.memory import Memory
from groxy.store.kept import KeptStore
from tests.gateway.stage import SECRET, Shelf


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def memory(shelf) -> Memory:
    return Memory(kept=cast("KeptStore", shelf), secret=SECRET)


def asked(**fields: object) -> Any:
    body = {"model": "grok-4.3", "input": "Hello!"} | fields
    return RESPONSES.decode_request(json.dumps(body).encode())


def record(reply_id: str, said: str) -> bytes:
    message = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": said, "annotations": []}],
    }
    return json.dumps({"response": {"id": reply_id}, "output": [message]}).encode()


async def keep(memory: Memory, request: Any, reply_id: str, said: str) -> None:
    row = memory.reply_row(
        RESPONSES, request, record(reply_id, said), owner="key-1", account_id="account-7"
    )
    cast("Shelf", memory.kept).add(row)


def keep_thoughts(memory: Memory, sealed: list[str], call_ids: list[str]) -> None:
    cast("Shelf", memory.kept).add(memory.thoughts_row(sealed, call_ids, "key-1"))


def texts(whole: Any) -> list[Any]:
    return [
        "".join(part.text for part in message.parts if isinstance(part, Text))
        for message in RESPONSES.canonical(whole).messages
    ]


async def test_a_request_that_goes_on_from_nothing_stays_as_it_is(memory) -> None:
    request = asked()
    assert await memory.recall(RESPONSES, request, "key-1") == (request, "")


async def test_a_conversation_is_put_together_over_several_turns(memory) -> None:
    await keep(memory, asked(input="One?"), "resp_1", "First.")
    second = asked(input="Two?", previous_response_id="resp_1")
    await keep(memory, second, "resp_2", "Second.")
    third = asked(input="Three?", previous_response_id="resp_2")
    whole, home = await memory.recall(RESPONSES, third, "key-1")
    assert texts(whole) == ["One?", "First.", "Two?", "Second.", "Three?"]
    assert home == "account-7"


async def test_only_its_own_input_is_kept_of_each_turn(memory, shelf) -> None:
    await keep(memory, asked(input="One?"), "resp_1", "First.")
    second = asked(input="Two?", previous_response_id="resp_1")
    whole, _ = await memory.recall(RESPONSES, second, "key-1")
    assert whole is not second
    await keep(memory, second, "resp_2", "Second.")
    assert b"One?" not in shelf.kept["resp_2"].content


async def test_a_turn_belongs_to_the_same_conversation_as_the_first(memory) -> None:
    first = asked(input="One?", instructions="Be brief.")
    await keep(memory, first, "resp_1", "First.")
    second = asked(input="Two?", instructions="Be brief.", previous_response_id="resp_1")
    whole, _ = await memory.recall(RESPONSES, second, "key-1")
    assert whole.conversation == first.conversation != ""


async def test_another_owners_reply_is_not_there(memory) -> None:
    await keep(memory, asked(), "resp_1", "First.")
    with pytest.raises(GroxyError) as caught:
        await memory.recall(RESPONSES, asked(previous_response_id="resp_1"), "key-2")
    assert caught.value.kind is ErrorKind.NOT_FOUND
    assert caught.value.param == "previous_response_id"


async def test_a_forgotten_reply_is_gone(memory) -> None:
    await keep(memory, asked(), "resp_1", "First.")
    await memory.forget("resp_1", "key-1")
    with pytest.raises(GroxyError):
        await memory.replies("resp_1", "key-1", with_earlier=False)
    with pytest.raises(GroxyError):
        await memory.forget("resp_1", "key-1")


async def test_thoughts_are_found_by_any_call_they_led_to(memory) -> None:
    keep_thoughts(memory, ["sealed"], ["call-1", "call-2"])
    assert await memory.thoughts(["call-1", "call-2"], "key-1") == {
        "call-1": ("sealed",),
        "call-2": ("sealed",),
    }


async def test_thoughts_of_another_owners_call_are_unknown(memory) -> None:
    keep_thoughts(memory, ["sealed"], ["call-1"])
    assert await memory.thoughts(["call-1"], "key-2") == {}


async def test_a_call_of_the_same_id_brings_the_newest_thoughts(memory) -> None:
    keep_thoughts(memory, ["old"], ["call-1"])
    keep_thoughts(memory, ["new"], ["call-1"])
    assert await memory.thoughts(["call-1"], "key-1") == {"call-1": ("new",)}


async def test_a_summary_takes_the_place_of_what_it_sums_up(memory) -> None:
    token = memory.sealed("They agreed on blue.", "key-1")
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": token}
    request = asked(input=[item, {"role": "user", "content": "Which colour?"}])
    whole, _ = await memory.recall(RESPONSES, request, "key-1")
    summary, question = texts(whole)
    assert "They agreed on blue." in summary
    assert question == "Which colour?"


@pytest.mark.parametrize("owner", ["key-2", "key-1"])
async def test_a_summary_opens_for_its_owner_alone_and_unchanged(memory, owner) -> None:
    token = memory.sealed("They agreed on blue.", "key-1")
    if owner == "key-1":
        token = token[:-6] + "AAAAA="
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": token}
    request = asked(input=[item, {"role": "user", "content": "Which colour?"}])
    with pytest.raises(GroxyError) as caught:
        await memory.recall(RESPONSES, request, owner)
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert caught.value.param == "input"


async def test_a_summary_in_an_earlier_turn_is_opened_too(memory) -> None:
    token = memory.sealed("They agreed on blue.", "key-1")
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": token}
    first = asked(input=[item, {"role": "user", "content": "Which colour?"}])
    await keep(memory, first, "resp_1", "Blue.")
    whole, _ = await memory.recall(RESPONSES, asked(previous_response_id="resp_1"), "key-1")
    assert "They agreed on blue." in texts(whole)[0]
