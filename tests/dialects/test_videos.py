"""The caller's end of film jobs: what is taken, what is refused by name, and how jobs are told."""

import json
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.videos import (
    FilmShown,
    encode_deleted,
    encode_job,
    encode_jobs,
    encode_receipt,
    encode_state,
    form_body,
    read_film,
)
from groxy.upstreams._openrouter_media import openrouter_video_call
from groxy.upstreams._xai_media import xai_video_call

PICTURE = "data:image/png;base64,AAAA"
LINK = "https://example.com/a.png"


def read(form="openai", **fields):
    body = {"model": "grok-imagine-video", "prompt": "a cat"} | fields
    return read_film(json.dumps(body).encode(), form=form)


def shown(**changes):
    values: dict[str, Any] = {
        "id": "video_1",
        "model": "grok-imagine-video",
        "status": "queued",
        "progress": 0,
        "prompt": "a cat",
        "seconds": 6,
        "size": "720x1280",
        "created_s": 1_700_000_000,
    }
    return FilmShown(**(values | changes))


def test_a_bare_order_is_the_contracts_usual_film():
    asked = read()
    assert (asked.request.duration_s, asked.size) == (6, "720x1280")
    assert (asked.request.aspect_ratio, asked.request.resolution) == ("9:16", "720p")


@pytest.mark.parametrize(
    ("size", "ratio", "resolution"),
    [
        ("720x1280", "9:16", "720p"),
        ("1280x720", "16:9", "720p"),
        ("1024x1024", "1:1", "720p"),
        ("1024x1792", "9:16", "720p"),
        ("1792x1024", "16:9", "720p"),
    ],
)
def test_every_size_of_the_contract_is_taken(size, ratio, resolution):
    asked = read(size=size)
    assert asked.size == size
    assert (asked.request.aspect_ratio, asked.request.resolution) == (ratio, resolution)


@pytest.mark.parametrize("seconds", [6, 10, 12, 16, 20, 1, 15, "6", "20", 8.0])
def test_seconds_come_as_numbers_or_texts(seconds):
    assert read(seconds=seconds).request.duration_s == int(seconds)
    assert read(form="xai", duration=seconds).request.duration_s == int(seconds)


def test_a_named_resolution_counts_more_than_the_sizes_own():
    assert read(size="1280x720", resolution_name="480p").request.resolution == "480p"
    assert read(resolution="1080p").request.resolution == "1080p"


def test_xais_words_leave_the_shape_to_the_model():
    asked = read(form="xai")
    assert (asked.request.aspect_ratio, asked.request.resolution, asked.size) == ("", "", "")
    asked = read(form="xai", aspect_ratio="16:9", resolution="480p", duration=8)
    assert (asked.request.duration_s, asked.size) == (8, "854x480")


@pytest.mark.parametrize(
    ("fields", "images", "params"),
    [
        ({"input_reference": PICTURE}, (PICTURE,), ("input_reference",)),
        ({"input_reference": {"image_url": LINK}}, (LINK,), ("input_reference",)),
        ({"input_reference": {"image_url": {"url": LINK}}}, (LINK,), ("input_reference",)),
        ({"input_reference": {"file_id": "file-1"}}, ("file-1",), ("input_reference",)),
        (
            {"input_reference": [PICTURE, LINK]},
            (PICTURE, LINK),
            ("input_reference.0", "input_reference.1"),
        ),
        ({"image": {"url": LINK}}, (LINK,), ("image",)),
        ({"reference_images": [{"url": LINK}]}, (LINK,), ("reference_images",)),
        (
            {"image": LINK, "reference_images": [PICTURE]},
            (LINK, PICTURE),
            ("image", "reference_images"),
        ),
    ],
)
def test_references_are_read_wherever_they_stand(fields, images, params):
    asked = read(**fields)
    assert (asked.request.images, asked.params) == (images, params)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"prompt": " "}, "prompt", "empty"),
        ({"prompt": None}, "prompt", "expected"),
        ({"model": ""}, "model", "length"),
        ({"seconds": 0}, "seconds", "6, 10, 12, 16, 20"),
        ({"seconds": 21}, "seconds", "1 to 20"),
        ({"seconds": "long"}, "seconds", "whole number"),
        ({"seconds": "nan"}, "seconds", "whole number"),
        ({"seconds": 6.5}, "seconds", "whole number"),
        ({"seconds": True}, "seconds", "bool"),
        ({"duration": 99}, "duration", "1 to 20"),
        ({"size": "7x7"}, "size", "known are"),
        ({"aspect_ratio": "7:7"}, "aspect_ratio", "16:9"),
        ({"resolution_name": "4k"}, "resolution_name", "480p, 720p, 1080p"),
        ({"preset": "wild"}, "preset", "fun, normal, spicy, custom"),
        ({"input_reference": "file:///etc/passwd"}, "input_reference", "data URI"),
        ({"input_reference": {}}, "input_reference", "empty"),
        ({"input_reference": [PICTURE, "x"]}, "input_reference.1", "data URI"),
        ({"input_reference": [PICTURE] * 8}, "input_reference", "at most 7"),
    ],
)
def test_what_is_wrong_is_named(fields, param, words):
    with pytest.raises(GroxyError) as raised:
        read(**fields)
    error = raised.value
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, param)
    assert words in error.message


@pytest.mark.parametrize("name", ["model", "prompt"])
def test_what_is_missing_is_named(name):
    body = {"model": "m", "prompt": "p"}
    del body[name]
    with pytest.raises(GroxyError) as raised:
        read_film(json.dumps(body).encode())
    assert raised.value.param == name


def test_a_form_says_the_same_as_json():
    fields = {
        "model": ["m"],
        "prompt": ["old", "a cat"],
        "seconds": ["10"],
        "input_reference[image_url]": [LINK],
        "reference_images[]": [PICTURE, LINK],
    }
    asked = read_film(form_body(fields))
    assert (asked.request.prompt, asked.request.duration_s) == ("a cat", 10)
    assert asked.request.images == (LINK, PICTURE, LINK)


def test_a_job_is_told_in_the_contracts_shape():
    job = json.loads(encode_job(shown()))
    assert job == {
        "id": "video_1",
        "object": "video",
        "model": "grok-imagine-video",
        "status": "queued",
        "progress": 0,
        "prompt": "a cat",
        "seconds": "6",
        "size": "720x1280",
        "quality": "standard",
        "created_at": 1_700_000_000,
        "remixed_from_video_id": None,
    }


def test_a_job_that_is_done_has_a_link():
    done = shown(status="completed", progress=100, completed_s=5, expires_s=9, url="http://x/y")
    job = json.loads(encode_job(done))
    assert (job["completed_at"], job["expires_at"], job["video_url"]) == (5, 9, "http://x/y")


def test_a_job_that_failed_says_why():
    job = json.loads(encode_job(shown(status="failed", error_code="c", error="Too dark.")))
    assert job["error"] == {"code": "c", "message": "Too dark."}
    assert "video_url" not in job


def test_a_list_has_ends_and_says_whether_there_is_more():
    listed = json.loads(encode_jobs([shown(), shown(id="video_2")], has_more=True))
    assert (listed["object"], listed["first_id"], listed["last_id"], listed["has_more"]) == (
        "list",
        "video_1",
        "video_2",
        True,
    )
    empty = json.loads(encode_jobs([], has_more=False))
    assert (empty["data"], empty["first_id"]) == ([], None)


def test_xais_states_are_told_in_its_words():
    assert json.loads(encode_receipt("video_1")) == {"request_id": "video_1"}
    status, body = encode_state(shown(status="in_progress", progress=40))
    assert (status, json.loads(body)["status"], json.loads(body)["progress"]) == (
        202,
        "pending",
        40,
    )
    done = shown(status="completed", progress=100, url="http://x/y", cost_ticks=7)
    status, body = encode_state(done)
    state = json.loads(body)
    assert (status, state["status"]) == (200, "done")
    assert state["video"] == {"url": "http://x/y", "duration": 6, "respect_moderation": True}
    assert state["usage"] == {"cost_in_usd_ticks": 7}
    refused = shown(status="failed", error_code="content_policy_violation", error="No.")
    status, body = encode_state(refused)
    assert json.loads(body)["error"] == {"code": "permission_denied", "message": "No."}


def test_what_is_deleted_is_told_as_openai_tells_it():
    told = {"id": "video_1", "object": "video.deleted", "deleted": True}
    assert json.loads(encode_deleted("video_1")) == told


def test_max_cost_is_read_from_json_and_from_forms():
    assert read(max_cost=0.05).request.max_cost_ticks == 500_000_000
    assert read(max_cost=None).request.max_cost_ticks is None
    assert read().request.max_cost_ticks is None
    form = form_body({"model": ["m"], "prompt": ["a cat"], "max_cost": ["0.05"]})
    assert read_film(form).request.max_cost_ticks == 500_000_000


@pytest.mark.parametrize("trick", [-1, 0, True, "NaN", "1e3", "", "1,5", 2**63, [1], {}])
def test_a_max_cost_that_is_no_amount_is_refused(trick):
    with pytest.raises(GroxyError) as caught:
        read(max_cost=trick)
    assert caught.value.param == "max_cost"


def test_no_upstream_is_told_of_max_cost():
    request = read(max_cost=7.25).request
    for call in (xai_video_call(request, "grok"), openrouter_video_call(request, "x-ai/g")):
        assert b"max_cost" not in call.body
        assert b"7.25" not in call.body
