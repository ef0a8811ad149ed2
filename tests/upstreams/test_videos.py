"""Films in OpenAI's form, and replies in the forms of others."""

import json

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import FilmStatus, VideoRequest
from groxy.dialects._base import BillField, UsageRules
from groxy.upstreams._videos import (
    cancel_call,
    read_film,
    read_video_id,
    state_call,
    video_call,
)

PNG = "data:image/png;base64,iVBORw0KGgo="
TICKS = UsageRules(bill=BillField.TICKS)
USD = UsageRules(bill=BillField.USD)


def _request(**values):
    return VideoRequest(**({"model": "m", "prompt": "a red panda"} | values))


def _state(rules=TICKS, **body):
    state = read_film(json.dumps(body).encode(), rules)
    assert state is not None
    return state


def test_a_film_is_asked_for_with_a_form():
    call = video_call(
        _request(duration_s=10, aspect_ratio="9:16", resolution="720p", images=(PNG,)), "sora-2"
    )
    assert (call.method, call.path) == ("POST", "/videos")
    assert call.content_type.startswith("multipart/form-data; boundary=")
    for part in (b"sora-2", b"a red panda", b"10", b"720x1280"):
        assert b"\r\n\r\n" + part + b"\r\n" in call.body
    assert b'name="input_reference"; filename="reference.png"' in call.body
    assert call.adjusted == ()


def test_what_is_not_asked_for_is_left_out():
    call = video_call(_request(), "m")
    assert b"size" not in call.body
    assert b"input_reference" not in call.body


def test_two_references_are_more_than_the_form_has_room_for():
    with pytest.raises(GroxyError) as caught:
        video_call(_request(images=(PNG, PNG)), "m")
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert caught.value.param == "input_reference"


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("", ()),
        ("normal", ()),
        ("custom", ()),
        ("fun", ("preset dropped",)),
        ("spicy", ("preset dropped",)),
    ],
)
def test_a_preset_that_is_left_out_is_told_of(preset, words):
    assert video_call(_request(preset=preset), "m").adjusted == words


def test_a_shape_without_a_size_is_told_of():
    call = video_call(_request(aspect_ratio="2:1"), "m")
    assert call.adjusted == ("aspect_ratio sent as size 1280x720",)


def test_ids_become_one_segment_of_the_path():
    assert state_call("a/../b?c").path == "/videos/a%2F..%2Fb%3Fc"
    assert (state_call("a").method, state_call("a").body) == ("GET", b"")
    assert (cancel_call("a").method, cancel_call("a").path) == ("DELETE", "/videos/a")


@pytest.mark.parametrize("call", [state_call, cancel_call])
@pytest.mark.parametrize("film_id", ["", ".", ".."])
def test_what_can_be_no_id_is_not_asked_for(call, film_id):
    with pytest.raises(GroxyError) as caught:
        call(film_id)
    assert caught.value.kind is ErrorKind.NOT_FOUND


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"request_id": "req-1"}, "req-1"),
        ({"id": "video_1", "object": "video", "status": "queued"}, "video_1"),
        ({"id": "abc", "polling_url": "https://o/abc", "status": "pending"}, "abc"),
        ({"id": ""}, None),
        ({"id": "two words"}, None),
        ({"id": ".."}, None),
        ({"id": "x" * 501}, None),
        ({"id": 5}, None),
        ({"error": "no"}, None),
        ([], None),
    ],
)
def test_the_id_of_a_new_film_is_read(body, found):
    assert read_video_id(json.dumps(body).encode()) == found


@pytest.mark.parametrize("status", ["queued", "pending", "in_progress", "processing", "PENDING"])
def test_a_film_that_is_being_made_is_pending(status):
    state = _state(id="a", status=status, progress=37.5)
    assert (state.status, state.progress, state.url) == (FilmStatus.PENDING, 37, "")


@pytest.mark.parametrize(
    ("progress", "percent"),
    [(None, 0), ("50", 50), (-3, 0), (1e300, 100), ("x", 0), ("nan", 0), ("inf", 0), (100, 100)],
)
def test_progress_is_a_percentage_whatever_it_was(progress, percent):
    assert _state(status="pending", progress=progress).progress == percent


def test_a_film_of_xai_is_done():
    state = _state(
        status="done",
        video={"url": "https://vidgen.x.ai/a.mp4", "duration": 6, "respect_moderation": True},
        model="grok-imagine-video",
        usage={"cost_in_usd_ticks": 3_000_000_000},
    )
    assert (state.status, state.progress, state.error) == (FilmStatus.DONE, 100, "")
    assert (state.url, state.duration_s) == ("https://vidgen.x.ai/a.mp4", 6.0)
    assert state.cost_ticks == 3_000_000_000


def test_a_film_without_a_status_that_says_where_it_is_is_done():
    assert _state(video={"url": "https://vidgen.x.ai/a.mp4"}).status is FilmStatus.DONE


def test_a_film_of_openai_is_at_its_own_address():
    state = _state(id="video_1", status="completed", seconds="8")
    assert (state.url, state.duration_s) == ("/videos/video_1/content", 8.0)


def test_a_film_of_openrouter_has_its_bill():
    url = "https://openrouter.ai/api/v1/videos/abc/content?index=0"
    state = _state(USD, id="abc", status="completed", unsigned_urls=[url], usage={"cost": 0.25})
    assert (state.url, state.cost_ticks) == (url, 2_500_000_000)


def test_a_film_that_is_done_but_nowhere_has_failed():
    state = _state(status="done")
    assert state.status is FilmStatus.FAILED
    assert "not where" in state.error
    assert not state.is_refused


@pytest.mark.parametrize(
    "body",
    [
        {"status": "done", "video": {"url": "https://v/a.mp4", "respect_moderation": False}},
        {"status": "failed", "video": {"respect_moderation": False}},
        {"status": "failed", "error": {"code": "content_policy_violation", "message": "no"}},
        {"status": "failed", "error": {"code": "x", "message": "violates usage guidelines"}},
        {"status": "failed", "error": "Content policy violation"},
    ],
)
def test_a_film_that_is_against_the_rules_is_refused(body):
    state = _state(**body)
    assert state.status is FilmStatus.FAILED
    assert state.is_refused
    assert state.error
    assert not state.url


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"status": "failed", "error": {"code": "internal_error", "message": "Broke"}}, "Broke"),
        ({"status": "failed", "error": {"message": "see https://x.ai/a?key=b"}}, "see …"),
        ({"status": "failed", "error": None}, "did not say why"),
        ({"status": "expired"}, "gave the film up"),
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "strange", "progress": 100}, "did not say why"),
    ],
)
def test_a_film_that_failed_says_why(body, said):
    state = _state(**body)
    assert state.status is FilmStatus.FAILED
    assert said in state.error
    assert not state.is_refused
    assert state.progress < 100


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"status":""}', b'{"error":"no"}', b"\xff"])
def test_a_body_that_tells_nothing_of_a_film_is_none(body):
    assert read_film(body, TICKS) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_not(body):
    read_film(body, TICKS)
    read_video_id(body)
