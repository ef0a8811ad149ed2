"""What is kept of a reply is enough to go on from it."""

import json
from typing import Any

import pytest

from groxy.dialects.responses import DIALECT, history

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi.", "annotations": []}],
}
RECORD = json.dumps({"response": {"id": "resp_1", "x": 1}, "output": [MESSAGE]}).encode()


def asked(**fields: object) -> Any:
    body = {"model": "grok-4.3", "input": "Hello!"} | fields
    return DIALECT.decode_request(json.dumps(body).encode())


def items(whole: Any) -> Any:
    return json.loads(bytes(whole.fields["input"]))


def test_a_kept_reply_reads_as_it_was_sent() -> None:
    reply_id, content = history.remembered(asked(), RECORD)
    assert reply_id == "resp_1"
    assert json.loads(history.kept_response(content)) == {"id": "resp_1", "x": 1}


def test_each_item_of_the_input_has_an_id() -> None:
    _, content = history.remembered(asked(), RECORD)
    (item,) = history.kept_input([content])
    assert item["role"] == "user"
    assert item["id"]


def test_the_input_of_the_last_holds_the_turns_before_it() -> None:
    _, first = history.remembered(asked(input="One?"), RECORD)
    _, second = history.remembered(asked(input="Two?"), RECORD)
    roles = [item["role"] for item in history.kept_input([first, second])]
    assert roles == ["user", "assistant", "user"]


def test_a_request_goes_on_from_all_that_was_kept() -> None:
    _, first = history.remembered(asked(input="One?"), RECORD)
    whole = history.continued(asked(input="Two?"), [first], {})
    assert [item["role"] for item in items(whole)] == ["user", "assistant", "user"]
    assert items(whole)[1] == MESSAGE


def test_the_request_itself_stays_as_it_was_asked() -> None:
    request = asked(input="Two?")
    _, first = history.remembered(asked(input="One?"), RECORD)
    history.continued(request, [first], {})
    assert bytes(request.fields["input"]) == b'"Two?"'


def test_the_same_history_gives_the_same_bytes() -> None:
    _, first = history.remembered(asked(input="One?"), RECORD)
    one = items(history.continued(asked(input=[{"role": "user", "content": "x"}]), [first], {}))
    two = items(history.continued(asked(input=[{"role": "user", "content": "y"}]), [first], {}))
    assert one[:2] == two[:2]


def test_a_summary_of_ours_is_found_and_opened() -> None:
    token = {"type": "compaction", "id": "cmp_1", "encrypted_content": "groxy-abc"}
    request = asked(input=[token, {"role": "user", "content": "Go on."}])
    assert history.summaries(request) == ["groxy-abc"]
    opened, question = items(history.continued(request, [], {"groxy-abc": "They met."}))
    assert opened["role"] == "system"
    assert "They met." in opened["content"][0]["text"]
    assert question["content"] == "Go on."


@pytest.mark.parametrize(
    "given",
    [
        "groxy-abc",
        [{"role": "user", "content": "groxy-abc"}],
        [{"type": "compaction", "id": "cmp_1", "encrypted_content": "another's groxy-"}],
    ],
)
def test_what_is_no_summary_of_ours_is_left_alone(given) -> None:
    assert history.summaries(asked(input=given)) == []


def test_a_conversation_is_summed_up_by_its_own_model_and_not_stored() -> None:
    request = json.loads(history.compaction_request(asked(instructions="Be brief.")))
    assert (request["model"], request["store"], request["stream"]) == ("grok-4.3", False, False)
    assert request["instructions"] == "Be brief."
    assert [item["role"] for item in request["input"]] == ["user", "user"]


def test_users_messages_stay_and_the_rest_is_sealed() -> None:
    turns = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "First."}]
    reply = {"id": "resp_2", "created_at": 1.0, "usage": {}, "output": [MESSAGE]}
    written = json.loads(
        history.as_compacted(
            asked(input=turns), reply, item_id="cmp_2", seal=lambda text: f"sealed:{text}"
        )
    )
    said, summary = written["output"]
    assert said["content"][0]["text"] == "One?"
    assert summary == {"type": "compaction", "id": "cmp_2", "encrypted_content": "sealed:Hi."}


def test_summing_up_costs_no_more_than_the_request_may() -> None:
    assert json.loads(history.compaction_request(asked(max_cost="0.5")))["max_cost"] == "0.5"
    assert "max_cost" not in json.loads(history.compaction_request(asked()))
