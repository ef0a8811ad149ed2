"""Kept replies are their owner's, can be read, listed, gone on from, summed up and forgotten."""

import pytest

from tests.api.conftest import OTHER_KEY

MODEL = "grok-4.3"


async def say(asker, said, **more):
    answer = await asker.post("/v1/responses", {"model": MODEL, "input": said} | more)
    assert answer.status == 200
    return answer.json


async def test_a_kept_reply_reads_as_it_was_sent(asker):
    reply = await say(asker, "Hello!")
    answer = await asker.get(f"/v1/responses/{reply['id']}")
    assert (answer.status, answer.json) == (200, reply)


async def test_a_streamed_reply_is_kept_too(asker):
    body = {"model": MODEL, "input": "Hello!", "stream": True}
    streamed = await asker.post("/v1/responses", body)
    reply_id = streamed.body.partition(b'"id":"resp_')[2].partition(b'"')[0].decode()
    answer = await asker.get(f"/v1/responses/resp_{reply_id}")
    assert answer.json["status"] == "completed"


async def test_a_reply_that_is_not_to_be_stored_is_not_there(asker):
    reply = await say(asker, "Hello!", store=False)
    assert (await asker.get(f"/v1/responses/{reply['id']}")).status == 404


async def test_a_failed_request_leaves_nothing(asker):
    body = {"model": MODEL, "input": "Hi [[sandbox: status=400]]"}
    answer = await asker.post("/v1/responses", body)
    assert answer.status == 400
    assert await asker.app.kept.purge(2**62) == 0


@pytest.mark.parametrize("path", ["", "/input_items"])
async def test_another_callers_reply_looks_like_none(asker, path):
    reply = await say(asker, "Hello!")
    theirs = await asker.get(f"/v1/responses/{reply['id']}{path}", key=OTHER_KEY)
    nobodys = await asker.get(f"/v1/responses/resp_0{path}", key=OTHER_KEY)
    assert theirs.status == nobodys.status == 404
    assert theirs.json == nobodys.json


async def test_going_on_from_another_callers_reply_is_a_404(asker):
    reply = await say(asker, "Hello!")
    body = {"model": MODEL, "input": "More", "previous_response_id": reply["id"]}
    answer = await asker.post("/v1/responses", body, key=OTHER_KEY)
    assert (answer.status, answer.error["param"]) == (404, "previous_response_id")


async def test_a_conversation_goes_on(asker):
    first = await say(asker, "One?")
    second = await say(asker, "Two?", previous_response_id=first["id"])
    third = await say(asker, "Three?", previous_response_id=second["id"])
    text = third["output"][-1]["content"][0]["text"]
    assert "your message number 3" in text


async def test_a_deleted_reply_is_gone_for_good(asker):
    reply = await say(asker, "Hello!")
    path = f"/v1/responses/{reply['id']}"
    assert (await asker.delete(path, key=OTHER_KEY)).status == 404
    deleted = await asker.delete(path)
    assert deleted.json == {"id": reply["id"], "object": "response", "deleted": True}
    assert (await asker.get(path)).status == 404
    assert (await asker.delete(path)).status == 404


async def test_going_on_after_an_earlier_reply_was_deleted_says_so(asker):
    first = await say(asker, "One?")
    second = await say(asker, "Two?", previous_response_id=first["id"])
    await asker.delete(f"/v1/responses/{first['id']}")
    body = {"model": MODEL, "input": "Three?", "previous_response_id": second["id"]}
    answer = await asker.post("/v1/responses", body)
    assert answer.status == 404
    assert "deleted" in answer.error["message"]


async def test_input_items_are_listed_newest_first_with_those_of_earlier_turns(asker):
    first = await say(asker, "One?")
    second = await say(asker, "Two?", previous_response_id=first["id"])
    listed = (await asker.get(f"/v1/responses/{second['id']}/input_items")).json
    assert [item["role"] for item in listed["data"]] == ["user", "assistant", "user"]
    assert listed["data"][0]["content"][0]["text"] == "Two?"
    assert listed["first_id"] == listed["data"][0]["id"]
    assert listed["has_more"] is False


async def test_input_items_come_in_pages(asker):
    items = [{"role": "user", "content": f"Number {n}"} for n in range(5)]
    reply = await say(asker, items)
    path = f"/v1/responses/{reply['id']}/input_items"
    seen, after, page = [], "", {}
    for _ in range(3):
        page = (await asker.get(path, query=f"order=asc&limit=2{after}")).json
        seen += [item["content"][0]["text"] for item in page["data"]]
        after = f"&after={page['last_id']}"
    assert seen == [f"Number {n}" for n in range(5)]
    assert page["has_more"] is False


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=nothing"])
async def test_a_wrong_page_is_refused(asker, query):
    reply = await say(asker, "Hello!")
    answer = await asker.get(f"/v1/responses/{reply['id']}/input_items", query=query)
    assert (answer.status, answer.error["param"]) == (400, query.partition("=")[0])


async def test_only_background_replies_can_be_cancelled(asker):
    reply = await say(asker, "Hello!")
    answer = await asker.post(f"/v1/responses/{reply['id']}/cancel", {})
    assert answer.status == 400
    assert "background" in answer.error["message"]
    assert (await asker.post("/v1/responses/resp_0/cancel", {})).status == 404


async def test_a_kept_reply_is_not_streamed_again(asker):
    reply = await say(asker, "Hello!")
    answer = await asker.get(f"/v1/responses/{reply['id']}", query="stream=true")
    assert (answer.status, answer.error["param"]) == (400, "stream")


async def test_input_tokens_grow_with_the_history(asker):
    first = await say(asker, "One?")
    alone = await asker.post("/v1/responses/input_tokens", {"model": MODEL, "input": "Two?"})
    body = {"model": MODEL, "input": "Two?", "previous_response_id": first["id"]}
    whole = await asker.post("/v1/responses/input_tokens", body)
    assert alone.json["object"] == "response.input_tokens"
    assert 0 < alone.json["input_tokens"] < whole.json["input_tokens"]


async def test_a_conversation_is_compacted_and_gone_on_from(asker):
    turns = [
        {"role": "user", "content": "My name is Bob."},
        {"role": "assistant", "content": "Hello Bob."},
    ]
    compacted = await asker.post("/v1/responses/compact", {"model": MODEL, "input": turns})
    assert compacted.json["object"] == "response.compaction"
    said, summary = compacted.json["output"]
    assert (said["role"], summary["type"]) == ("user", "compaction")
    assert compacted.json["usage"]["total_tokens"] > 0
    assert "Bob" not in summary["encrypted_content"]
    reply = await say(asker, [said, summary, {"role": "user", "content": "Go on."}])
    assert "I was given instructions" in reply["output"][-1]["content"][0]["text"]


async def test_a_compaction_of_another_caller_is_refused(asker):
    body = {"model": MODEL, "input": "Hello!"}
    compacted = await asker.post("/v1/responses/compact", body)
    answer = await asker.post(
        "/v1/responses", body | {"input": compacted.json["output"]}, key=OTHER_KEY
    )
    assert (answer.status, answer.error["param"]) == (400, "input")


async def test_a_failed_compaction_is_passed_on(asker):
    body = {"model": MODEL, "input": "Hello! [[sandbox: status=429]]"}
    answer = await asker.post("/v1/responses/compact", body)
    # The marker counts in the newest message only, which here is the gateway's own.
    assert answer.status == 200
    unknown = await asker.post("/v1/responses/compact", body | {"model": "no-such-model"})
    assert (unknown.status, unknown.error["code"]) == (400, "model_not_found")
