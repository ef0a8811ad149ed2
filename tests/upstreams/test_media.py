"""What every upstream that makes pictures or films has in common, asked of the sandbox."""

import asyncio
import json
from dataclasses import replace
from io import BytesIO

import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import FilmState, FilmStatus, ImageRequest, MediaCall, VideoRequest
from groxy.upstreams import discover
from groxy.upstreams._base import KNOWN_DIALECTS, Credentials, ModelFacts
from groxy.upstreams.sandbox.server import Sandbox
from tests.upstreams.sandbox.media_asking import JPEG_URI
from tests.upstreams.test_contract import HOSTILE, LEAKS, SECRETS, account_of, any_json

FOUND = discover()
MAKERS = [each for each in FOUND.values() if each.makes]
makers = pytest.mark.parametrize("upstream", MAKERS, ids=lambda each: each.name)
NO_FACTS = ModelFacts()


def _sent(sandbox, call: MediaCall):
    headers = {"content-type": call.content_type}
    reply = sandbox.answer(call.method, f"/v1{call.path}", headers, call.body)

    async def read():
        return b"".join([chunk async for chunk in reply.body])

    return reply.status, asyncio.run(read())


@pytest.mark.parametrize("upstream", FOUND.values(), ids=FOUND)
def test_what_it_makes_and_the_dialects_that_it_may_be_asked_in_agree(upstream):
    assert upstream.makes <= {"images", "edits", "videos"}
    account = account_of(upstream)
    options = dict(account.options)
    if "dialects" in options:
        options["dialects"] = "images, videos"
    spoken = upstream.dialects_of(replace(account, options=options))
    assert set(spoken) <= set(KNOWN_DIALECTS)
    for name in ("images", "videos"):
        assert (name in spoken) == (name in upstream.makes)


@makers
def test_media_hosts_are_whole_names_and_get_no_credentials(upstream):
    for host in upstream.media_hosts:
        assert host == host.lower()
        assert "." in host
        assert not set(host) & set("/:*@ ")
    account = account_of(upstream)
    assert upstream.result_headers(account) == upstream.headers(account)


@makers
@pytest.mark.parametrize("references", [0, 1, 2])
def test_pictures_come_back_from_its_form(upstream, references):
    request = ImageRequest(
        model="grok-imagine-image",
        prompt="a red panda",
        count=2,
        aspect_ratio="1:1",
        resolution="1k",
        images=(JPEG_URI,) * references,
    )
    call = upstream.image_call(request, "grok-imagine-image", NO_FACTS)
    status, body = _sent(Sandbox(), call)
    assert status == 200, body
    made = upstream.read_images(body)
    assert len(made.images) == 2
    for image in made.images:
        content = image.content
        if not content:
            assert image.url.startswith("sandbox://in-process/v1/media/")
            path = "/" + image.url.partition("://")[2].partition("/")[2]
            link = MediaCall(path=path.removeprefix("/v1"), method="GET")
            status, content = _sent(Sandbox(), link)
            assert status == 200
        with Image.open(BytesIO(content)) as opened:
            opened.load()
            assert opened.size == (1024, 1024)
            assert image.content_type == f"image/{(opened.format or '').lower()}"


@makers
@pytest.mark.parametrize("references", [0, 1])
def test_a_film_is_begun_asked_for_and_fetched_in_its_form(upstream, references):
    sandbox = Sandbox()
    request = VideoRequest(
        model="grok-imagine-video",
        prompt="a red panda [[sandbox: takes=0]]",
        duration_s=1,
        aspect_ratio="16:9",
        resolution="480p",
        images=(JPEG_URI,) * references,
    )
    status, body = _sent(sandbox, upstream.video_call(request, "grok-imagine-video", NO_FACTS))
    assert status == 200, body
    film_id = upstream.read_video_id(body)
    status, body = _sent(sandbox, upstream.video_state_call(film_id))
    state = upstream.read_video(status, body)
    assert state.status is FilmStatus.DONE
    assert state.duration_s == 1.0
    path = state.url.removeprefix("sandbox://in-process/v1")
    status, content = _sent(sandbox, MediaCall(path=path, method="GET"))
    assert status == 200
    assert content[4:8] == b"ftyp"
    cancel = upstream.video_cancel_call(film_id)
    if cancel is not None:
        assert _sent(sandbox, cancel)[0] == 200
        status, body = _sent(sandbox, upstream.video_state_call(film_id))
        assert upstream.read_video(status, body).status is FilmStatus.FAILED


@makers
def test_a_film_that_takes_a_while_is_pending(upstream):
    sandbox = Sandbox()
    request = VideoRequest(model="m", prompt="p [[sandbox: takes=60]]", duration_s=1)
    _, body = _sent(sandbox, upstream.video_call(request, "m", NO_FACTS))
    status, body = _sent(sandbox, upstream.video_state_call(upstream.read_video_id(body)))
    assert upstream.read_video(status, body).status is FilmStatus.PENDING


@makers
@pytest.mark.parametrize(
    ("script", "is_refused"),
    [
        ("film=failed", False),
        ("film=expired", False),
        ("film=refused", True),
        ("moderated=1", True),
    ],
)
def test_a_film_that_ends_badly_has_failed(upstream, script, is_refused):
    sandbox = Sandbox()
    request = VideoRequest(model="m", prompt=f"p [[sandbox: takes=0 {script}]]", duration_s=1)
    _, body = _sent(sandbox, upstream.video_call(request, "m", NO_FACTS))
    status, body = _sent(sandbox, upstream.video_state_call(upstream.read_video_id(body)))
    state = upstream.read_video(status, body)
    assert (state.status, state.is_refused) == (FilmStatus.FAILED, is_refused)
    assert state.error
    assert state.cost_ticks is None
    assert not state.url


@makers
def test_a_film_that_is_not_known_any_more_has_failed(upstream):
    for status in (404, 410):
        assert upstream.read_video(status, b"{}").status is FilmStatus.FAILED


@makers
def test_a_reply_that_was_only_accepted_is_pending(upstream):
    assert upstream.read_video(202, b"").status is FilmStatus.PENDING


@makers
@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_another_error_says_nothing_of_the_film(upstream, status):
    with pytest.raises(GroxyError) as caught:
        upstream.read_video(status, b'{"error":"no"}')
    assert caught.value.kind is not ErrorKind.NOT_FOUND


@makers
@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_replies_are_refused_and_never_crash(upstream, body):
    for read in (upstream.read_images, upstream.read_video_id):
        with pytest.raises(GroxyError):
            read(body)
    with pytest.raises(GroxyError):
        upstream.read_video(200, body)


@settings(max_examples=150)
@given(st.sampled_from(MAKERS), any_json)
def test_any_json_is_read_or_refused(upstream, body):
    written = json.dumps(body).encode()
    for read in (
        upstream.read_images,
        upstream.read_video_id,
        lambda b: upstream.read_video(200, b),
    ):
        try:
            read(written)
        except GroxyError as error:
            assert error.message  # noqa: PT017 - either outcome is right


@makers
def test_reasons_never_have_a_secret(upstream):
    said = "Moderated. " + ", ".join(SECRETS)
    made = upstream.read_images(json.dumps({"data": [{"error": {"message": said}}]}).encode())
    assert "Moderated" in made.images[0].refused
    assert not LEAKS.search(made.images[0].refused)
    state = upstream.read_video(200, json.dumps({"status": "failed", "error": said}).encode())
    assert isinstance(state, FilmState)
    assert "Moderated" in state.error
    assert not LEAKS.search(state.error)


def test_a_plain_server_is_asked_for_media_only_where_its_account_says_so():
    for name in ("openai_compatible", "cometapi"):
        upstream = FOUND[name]
        plain = Credentials(api_key="k", base_url="http://127.0.0.1:1/v1")
        assert not {"images", "videos"} & set(upstream.dialects_of(plain))
        named = replace(plain, options={"dialects": "chat, images"})
        assert upstream.dialects_of(named) == ("chat", "images")


def test_cloudflares_compat_endpoint_makes_nothing():
    upstream = FOUND["cloudflare"]
    account = Credentials(api_key="k", options={"endpoint": "compat"})
    assert upstream.dialects_of(account) == ("chat",)
