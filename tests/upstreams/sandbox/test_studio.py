"""Pictures and films of the sandbox, from request to content."""

import json
from base64 import b64decode
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.server import Sandbox
from groxy.upstreams.sandbox.studio import PICTURE_TICKS, SECOND_TICKS, Studio
from tests.upstreams.sandbox.media_asking import (
    JPEG_URI,
    ask,
    begin_film,
    film_state,
    path_of,
    picture_data,
)


class _Clock:
    """Unix seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return _Clock()


@pytest.fixture
def sandbox(clock):
    return Sandbox(studio=Studio(clock))


def _size(content):
    with Image.open(BytesIO(content)) as opened:
        opened.load()
        return opened.format, opened.size


async def test_pictures_come_in_the_reply_with_their_bill(sandbox):
    status, told = await picture_data(
        sandbox, n=3, response_format="b64_json", aspect_ratio="16:9", resolution="1k"
    )
    assert status == 200
    contents = [b64decode(entry["b64_json"]) for entry in told["data"]]
    assert [_size(content) for content in contents] == [("JPEG", (1360, 768))] * 3
    assert len(set(contents)) == 3
    assert told["usage"] == {"cost_in_usd_ticks": 3 * PICTURE_TICKS["1k"]}


async def test_the_same_request_gets_the_same_pictures(sandbox):
    asked = {"response_format": "b64_json", "n": 2}
    assert await picture_data(sandbox, **asked) == await picture_data(Sandbox(), **asked)
    other = await picture_data(sandbox, prompt="a fox", **asked)
    assert other != await picture_data(sandbox, **asked)


async def test_links_lead_to_the_pictures_also_in_another_process(sandbox):
    _, inline = await picture_data(sandbox, response_format="b64_json", output_format="png")
    _, linked = await picture_data(sandbox, output_format="png")
    (entry,) = linked["data"]
    assert entry["url"].startswith("sandbox://in-process/v1/media/")
    assert entry["url"].endswith(".png")
    status, headers, content = await ask(Sandbox(), "GET", path_of(entry["url"]))
    assert (status, headers["content-type"]) == (200, "image/png")
    assert _size(content) == _size(b64decode(inline["data"][0]["b64_json"]))


async def test_links_name_the_host_that_was_asked(sandbox):
    body = {"model": "m", "prompt": "p"}
    _, _, content = await ask(
        sandbox, "POST", "/v1/images/generations", body, {"host": "127.0.0.1:9001"}
    )
    assert json.loads(content)["data"][0]["url"].startswith("http://127.0.0.1:9001/v1/media/")


async def test_an_edit_shows_its_references(sandbox):
    asked = {"response_format": "b64_json"}
    _, plain = await picture_data(sandbox, **asked)
    _, edited = await picture_data(sandbox, "/v1/images/edits", image={"url": JPEG_URI}, **asked)
    assert edited["data"] != plain["data"]
    _, linked = await picture_data(
        sandbox, "/v1/images/edits", image={"url": JPEG_URI}, **(asked | {"response_format": "url"})
    )
    _, _, content = await ask(sandbox, "GET", path_of(linked["data"][0]["url"]))
    assert _size(content) == ("JPEG", (1024, 1024))


async def test_fewer_pictures_are_made_and_billed(sandbox):
    _, told = await picture_data(sandbox, prompt="p [[sandbox: few=1]]", n=3)
    assert len(told["data"]) == 1
    assert told["usage"]["cost_in_usd_ticks"] == PICTURE_TICKS["1k"]
    _, told = await picture_data(sandbox, prompt="p [[sandbox: few=0]]", n=3)
    assert told["data"] == []


async def test_pictures_that_are_held_back_are_not_billed(sandbox):
    _, told = await picture_data(sandbox, prompt="p [[sandbox: moderated=2]]", n=3)
    assert [entry.get("respect_moderation", True) for entry in told["data"]] == [False, False, True]
    assert told["usage"]["cost_in_usd_ticks"] == PICTURE_TICKS["1k"]


async def test_links_come_where_they_were_not_asked_for(sandbox):
    _, told = await picture_data(sandbox, prompt="p [[sandbox: links]]", response_format="b64_json")
    assert told["data"][0].keys() == {"url", "mime_type"}


@pytest.mark.parametrize(("word", "usage"), [("none", None), ("zero", {"cost_in_usd_ticks": 0})])
async def test_the_bill_can_be_left_out(sandbox, word, usage):
    _, told = await picture_data(sandbox, prompt=f"p [[sandbox: usage={word}]]")
    assert told.get("usage") == usage
    film_id = await begin_film(sandbox, prompt=f"p [[sandbox: takes=0 usage={word}]]")
    assert (await film_state(sandbox, film_id))[1].get("usage") == usage


@pytest.mark.parametrize(
    ("words", "status"), [("refused", 403), ("status=429", 429), ("wrong_key", 400)]
)
async def test_errors_in_place_of_an_answer_work_as_in_text(sandbox, words, status):
    prompt = f"p [[sandbox: {words}]]"
    assert (await picture_data(sandbox, prompt=prompt))[0] == status
    asked = {"model": "m", "prompt": prompt}
    assert (await ask(sandbox, "POST", "/v1/videos/generations", asked))[0] == status


async def test_a_failure_can_end_after_some_calls(sandbox):
    prompt = "p [[sandbox: status=500 times=2]]"
    assert [(await picture_data(sandbox, prompt=prompt))[0] for _ in range(3)] == [500, 500, 200]


async def test_a_film_of_xai_goes_from_pending_to_done(sandbox, clock):
    film_id = await begin_film(sandbox, duration=10, resolution="720p")
    assert await film_state(sandbox, film_id) == (
        202,
        {"model": "grok-imagine-video", "progress": 0, "status": "pending"},
    )
    clock.now += 1
    assert (await film_state(sandbox, film_id))[1]["progress"] == 50
    clock.now += 1
    status, told = await film_state(sandbox, film_id)
    assert (status, told["status"], told["progress"]) == (200, "done", 100)
    assert told["video"]["duration"] == 10
    assert told["video"]["respect_moderation"] is True
    assert told["usage"] == {"cost_in_usd_ticks": 10 * SECOND_TICKS["720p"]}
    assert told["video"]["url"].startswith("sandbox://in-process/v1/media/sandbox-")


async def test_a_film_of_openai_goes_from_queued_to_completed(sandbox, clock):
    film_id = await begin_film(sandbox, "/v1/videos", seconds="6", size="1280x720")
    assert film_id.startswith("video_")
    seen, told = [], dict[str, Any]()
    for _ in range(3):
        status, told = await film_state(sandbox, film_id)
        seen.append((status, told["status"], told["progress"]))
        clock.now += 1
    assert seen == [(200, "queued", 0), (200, "in_progress", 50), (200, "completed", 100)]
    assert (told["seconds"], told["size"], told["object"]) == ("6", "1280x720", "video")
    assert told["created_at"] == 1_800_000_000


async def test_a_film_is_known_to_a_sandbox_that_was_started_anew(sandbox, clock):
    film_id = await begin_film(sandbox, duration=1)
    clock.now += 60
    anew = Sandbox(studio=Studio(clock))
    assert (await film_state(anew, film_id))[1]["status"] == "done"
    path = f"/v1/videos/{film_id}/content"
    status, headers, content = await ask(anew, "GET", path)
    assert (status, headers["content-type"], content[4:8]) == (200, "video/mp4", b"ftyp")
    assert (await ask(sandbox, "GET", path))[2] == content
    assert (await ask(sandbox, "GET", path))[2] == content


async def test_two_films_of_one_request_are_two(sandbox):
    assert await begin_film(sandbox) != await begin_film(sandbox)


async def test_a_film_that_is_not_ready_has_no_content(sandbox):
    film_id = await begin_film(sandbox)
    assert (await ask(sandbox, "GET", f"/v1/videos/{film_id}/content"))[0] == 409
    failed = await begin_film(sandbox, prompt="p [[sandbox: takes=0 film=failed]]")
    assert (await ask(sandbox, "GET", f"/v1/videos/{failed}/content"))[0] == 409


async def test_a_film_that_is_stuck_never_ends(sandbox, clock):
    film_id = await begin_film(sandbox, prompt="p [[sandbox: film=stuck]]")
    clock.now += 100_000
    assert (await film_state(sandbox, film_id))[1] == {
        "model": "grok-imagine-video",
        "progress": 40,
        "status": "pending",
    }


async def test_a_film_takes_as_long_as_it_is_told_to(sandbox, clock):
    film_id = await begin_film(sandbox, prompt="p [[sandbox: takes=100]]")
    clock.now += 99
    assert (await film_state(sandbox, film_id))[1]["progress"] == 99
    clock.now += 1
    assert (await film_state(sandbox, film_id))[1]["status"] == "done"


async def test_a_deleted_film_is_gone(sandbox):
    film_id = await begin_film(sandbox, prompt="p [[sandbox: takes=0]]")
    status, _, content = await ask(sandbox, "DELETE", f"/v1/videos/{film_id}")
    assert (status, json.loads(content)["deleted"]) == (200, True)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        assert (await ask(sandbox, method, f"/v1/videos/{film_id}{path}"))[0] == 404


async def test_content_breaks_off_where_the_script_says_so(sandbox):
    film_id = await begin_film(sandbox, prompt="p [[sandbox: takes=0 cut_after=1]]", duration=1)
    assert (await film_state(sandbox, film_id))[1]["status"] == "done"
    with pytest.raises(GroxyError) as caught:
        await ask(sandbox, "GET", f"/v1/videos/{film_id}/content")
    assert caught.value.kind is ErrorKind.STREAM_BROKEN
    status, told = await picture_data(sandbox, prompt="p [[sandbox: cut_after=1]]")
    assert status == 200
    with pytest.raises(GroxyError):
        await ask(sandbox, "GET", path_of(told["data"][0]["url"]))


async def test_a_reply_with_pictures_in_it_breaks_off_itself(sandbox):
    asked = {"model": "m", "prompt": "p [[sandbox: cut_after=1]]", "response_format": "b64_json"}
    with pytest.raises(GroxyError) as caught:
        await ask(sandbox, "POST", "/v1/images/generations", asked)
    assert caught.value.kind is ErrorKind.STREAM_BROKEN


async def test_a_reply_comes_in_pieces_of_the_size_that_the_script_says(sandbox):
    asked = {"model": "m", "prompt": "p [[sandbox: split=4000]]", "response_format": "b64_json"}
    reply = sandbox.answer("POST", "/v1/images/generations", {}, json.dumps(asked).encode())
    pieces = [piece async for piece in reply.body]
    assert {len(piece) for piece in pieces[:-1]} == {4000}
    assert json.loads(b"".join(pieces))["data"]


async def test_a_slow_reply_has_a_late_head(sandbox):
    asked = {"model": "m", "prompt": "p [[sandbox: slow_first=7]]"}
    for path in ("/v1/images/generations", "/v1/videos"):
        reply = sandbox.answer("POST", path, {}, json.dumps(asked).encode())
        assert (reply.head_after_s, reply.takes_time) == (7, True)
        reply.body.close()


async def test_the_script_of_a_key_fails_its_films_and_its_polls(sandbox):
    def script(words):
        body = json.dumps({"key": "k", "script": words}).encode()
        assert sandbox.answer("PUT", "/v1/faults", {}, body).status == 200

    headers = {"authorization": "Bearer k"}
    script("film=failed takes=0")
    film_id = await begin_film(sandbox, headers=headers)
    assert (await film_state(sandbox, film_id))[1]["status"] == "failed"
    script("status=503")
    assert (await ask(sandbox, "GET", f"/v1/videos/{film_id}", b"", headers))[0] == 503
    assert (await ask(sandbox, "GET", f"/v1/videos/{film_id}"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/videos", 405),
        ("GET", "/v1/images/generations", 405),
        ("GET", "/v1/videos/unknown", 404),
        ("DELETE", "/v1/videos/unknown", 404),
        ("GET", "/v1/media/unknown.jpg", 404),
        ("GET", "/v1/media/unknown", 404),
        ("POST", "/v1/media/unknown.jpg", 405),
        ("GET", "/v1/videos/a/b/c", 404),
    ],
)
async def test_other_paths_and_methods_are_refused(sandbox, method, path, status):
    assert (await ask(sandbox, method, path))[0] == status


async def test_a_film_is_no_picture_to_be_put(sandbox):
    film_id = await begin_film(sandbox)
    assert (await ask(sandbox, "PUT", f"/v1/videos/{film_id}"))[0] == 405


async def test_an_account_without_the_dialects_makes_nothing():
    sandbox = Sandbox(dialects=("chat", "images"))
    assert (await picture_data(sandbox))[0] == 200
    asked = {"model": "m", "prompt": "p"}
    assert (await ask(sandbox, "POST", "/v1/videos", asked))[0] == 404


async def test_models_that_are_not_served_make_no_pictures():
    sandbox = Sandbox(["grok-imagine-image"])
    assert (await picture_data(sandbox))[0] == 200
    assert (await picture_data(sandbox, model="other"))[0] == 404


async def test_what_is_kept_is_bounded(clock):
    studio = Studio(clock)
    sandbox = Sandbox(studio=studio)
    big = JPEG_URI[:-4] + "A" * 4 * 5_000_000
    for number in range(5):
        status, _ = await picture_data(
            sandbox, "/v1/images/edits", prompt=f"{number}", image={"url": big}
        )
        assert status == 200
    held = studio._references._held
    assert 1 <= sum(len(one) for each in held.values() for one in each) <= 64 * 1024 * 1024
    assert len(held) < 5
