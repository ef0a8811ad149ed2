"""Pictures and films of a whole gateway: the parts are joined, and follow settings that change."""

import asyncio
import base64
import time
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from groxy.app import running
from groxy.app.media import forms_of, limits_of
from groxy.core.errors import ErrorKind, GroxyError
from groxy.settings import Settings, load_settings
from tests.gateway.darkroom import picture
from tests.inprocess import KEY, application, ask

MIB = 1024 * 1024
IMAGE, FILM = "grok-imagine-image", "grok-imagine-video"
LARGE = picture(size=(600, 600)) + b"\0" * 2048
"""A picture of more than 1024 bytes."""
LARGE_URI = "data:image/png;base64," + base64.b64encode(LARGE).decode()


def settings(**sections):
    return Settings.model_validate({"data_dir": Path("unused"), **sections})


@asynccontextmanager
async def at_rest(folder, **sections):
    """Run an application that does nothing by itself: only films need what goes on beside."""
    flags = {"app.api_key": KEY, "logging.level": "error"}
    flags |= {name.replace("__", "."): value for name, value in sections.items()}
    loaded = load_settings(data_dir=folder, flags=flags, environ={"HOME": str(folder)})
    async with running(loaded, is_at_rest=True) as app:
        yield app


async def made(app, **fields):
    """Have a picture made; return its entry in the reply."""
    body = {"model": IMAGE, "prompt": "A cat", "response_format": "url", **fields}
    answer = await ask(app, "POST", "/v1/images/generations", body=body)
    assert answer.status == 200, answer.body
    return answer.json["data"][0]


async def followed(app, link):
    """Return what is at a link, asked for without a key."""
    address = urlsplit(link)
    return await ask(app, "GET", address.path, query=address.query, key=None)


async def told_in_chat(app, model=IMAGE, prompt="A cat"):
    """Return the text of an answer in chat."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    answer = await ask(app, "POST", "/v1/chat/completions", body=body)
    assert answer.status == 200, answer.body
    return answer.json["choices"][0]["message"]["content"]


async def filmed(app):
    """Have a film made; return its job when that is over."""
    body = {"model": FILM, "prompt": "A cat [[sandbox: takes=0]]"}
    job = (await ask(app, "POST", "/v1/videos", body=body)).json
    async with asyncio.timeout(20):
        while job["status"] not in ("completed", "failed"):
            await asyncio.sleep(0.02)
            job = (await ask(app, "GET", f"/v1/videos/{job['id']}")).json
    return job


# ------------------------------------------------------------------------------ what is joined


async def test_a_picture_is_on_the_shelf_that_its_link_leads_to(tmp_path):
    async with at_rest(tmp_path) as app:
        link = (await made(app))["url"]
        found = await followed(app, link)

    assert link.startswith("http://testserver/v1/files/image?id=")
    assert (found.status, found.headers["content-type"]) == (200, "image/jpeg")
    (stored,) = (path for path in (tmp_path / "media").rglob("*") if path.is_file())
    assert stored.read_bytes() == found.body


async def test_what_is_stored_goes_where_the_settings_say(tmp_path):
    place = tmp_path / "elsewhere"
    place.mkdir()
    async with at_rest(tmp_path, media__url=place.as_uri()) as app:
        await made(app)

    assert [path.is_file() for path in (place / "image").iterdir()] == [True]
    assert not (tmp_path / "media").exists()


async def test_a_film_that_is_ordered_is_made_beside_the_requests_and_stored(tmp_path):
    async with application(tmp_path) as app:
        job = await filmed(app)
        content = await ask(app, "GET", f"/v1/videos/{job['id']}/content")

        assert job["status"] == "completed", job
        assert (content.status, content.headers["content-type"]) == (200, "video/mp4")
        assert content.body[4:8] == b"ftyp"


async def test_one_shelf_and_one_set_of_links_serve_all_parts(tmp_path):
    async with at_rest(tmp_path) as app:
        media = app.live.media

        assert media.chat.links is media.links
        assert (media.chat.maker, media.chat.references) == (media.maker, media.references)
        assert media.chat.filmer is media.films
        assert media.films.shelf is media.shelf


async def test_a_signed_link_outlives_a_restart(tmp_path):
    async with at_rest(tmp_path, media__link_ttl_s=600) as app:
        link = (await made(app))["url"]
    async with at_rest(tmp_path, media__link_ttl_s=600) as app:
        assert (await followed(app, link)).status == 200
        assert (await followed(app, link[:-1] + "x")).status == 404


# ----------------------------------------------------------------------- settings that change


async def test_links_follow_the_address_that_the_settings_name(tmp_path):
    async with at_rest(tmp_path) as app:
        await app.live.patch({"app": {"app_url": "https://pictures.test"}})
        named = (await made(app))["url"]
        await app.live.patch({"app": {"app_url": None}})
        usual = (await made(app))["url"]

    assert named.startswith("https://pictures.test/v1/files/image?id=")
    assert usual.startswith("http://testserver/")


async def test_links_are_signed_from_the_moment_that_they_are_to_expire(tmp_path):
    async with at_rest(tmp_path) as app:
        before = (await made(app))["url"]
        await app.live.patch({"media": {"link_ttl_s": 600}})
        after = (await made(app))["url"]

        assert "sig=" in after
        assert (await followed(app, after)).status == 200
        assert (await followed(app, before)).status == 404


@pytest.mark.parametrize("form", ["url", "markdown", "base64"])
async def test_chat_shows_pictures_in_the_form_that_is_set_now(tmp_path, form):
    starts = {
        "url": "http://testserver/v1/files/image?id=",
        "markdown": "](http://testserver/v1/files/image?id=",
        "base64": "](data:image/jpeg;base64,",
    }
    other = "markdown" if form == "url" else "url"
    async with at_rest(tmp_path, features__image_format=other) as app:
        before = await told_in_chat(app)
        await app.live.patch({"features": {"image_format": form}})
        after = await told_in_chat(app)

    assert starts[form] in after
    assert after.startswith("![") is (form != "url")
    assert before.startswith("![") is (other != "url")


async def test_chat_shows_films_in_the_form_that_is_set_now(tmp_path):
    async with application(tmp_path, features__video_format="url") as app:
        await app.live.patch({"features": {"video_format": "html"}})
        text = await told_in_chat(app, FILM, "A cat [[sandbox: takes=0]]")

    assert "<video" in text
    assert "http://testserver/v1/files/video?id=" in text


async def test_a_picture_that_is_sent_may_be_as_large_as_is_set_now(tmp_path):
    body = {"model": IMAGE, "prompt": "Bluer", "image": LARGE_URI}
    async with at_rest(tmp_path) as app:
        before = await ask(app, "POST", "/v1/images/edits", body=body)
        await app.live.patch({"media": {"max_image_bytes": 1024}})
        after = await ask(app, "POST", "/v1/images/edits", body=body)

    assert before.status == 200, before.body
    assert (after.status, after.error["param"]) == (400, "image")
    assert "1,024 are the most" in after.error["message"]


async def test_a_picture_that_is_made_may_be_as_large_as_is_set_now(tmp_path):
    async with at_rest(tmp_path) as app:
        content = await made(app, response_format="b64_json")
        assert len(content["b64_json"]) > 2048
        await app.live.patch({"media": {"max_image_bytes": 1024}})
        body = {"model": IMAGE, "prompt": "A cat", "response_format": "b64_json"}
        after = await ask(app, "POST", "/v1/images/generations", body=body)

    assert (after.status, after.error["code"]) == (502, "upstream_bad_reply")


@pytest.mark.parametrize("kind", ["image", "video", "file"])
async def test_one_thing_on_the_shelf_may_be_as_large_as_is_set_now(tmp_path, kind):
    async with at_rest(tmp_path) as app:
        shelf = app.live.media.shelf
        await shelf.put(kind, b"x" * 1025, content_type="a/b", owner="key_1")
        await app.live.patch({"media": {f"max_{kind}_bytes": 1024}})

        with pytest.raises(GroxyError) as caught:
            await shelf.put(kind, b"x" * 1025, content_type="a/b", owner="key_1")

    assert caught.value.kind is ErrorKind.TOO_LARGE


async def test_the_oldest_go_beyond_the_bound_that_is_set_now(tmp_path):
    async with at_rest(tmp_path) as app:
        shelf = app.live.media.shelf
        await app.live.patch({"media": {"image_max_mb": 1}})
        first = await shelf.put("image", b"x" * MIB, content_type="a/b", owner="key_1")
        await shelf.put("image", b"x" * MIB, content_type="a/b", owner="key_1")

        assert await shelf.find(first.id) is None


async def test_pictures_are_over_after_as_many_days_as_are_set_now(tmp_path, monkeypatch):
    async with at_rest(tmp_path, media__keep_days=0) as app:
        link = (await made(app))["url"]
        in_two_days_ms = time.time_ns() // 1_000_000 + 2 * 86_400_000
        monkeypatch.setattr("groxy.media.shelf._now_ms", lambda: in_two_days_ms)
        assert (await followed(app, link)).status == 200
        await app.live.patch({"media": {"keep_days": 1}})

        assert (await followed(app, link)).status == 404


# ------------------------------------------------------------------------- what settings say


def test_bounds_of_a_kind_are_in_mib_and_those_of_one_in_bytes():
    media = {
        "image_max_mb": 1,
        "video_max_mb": 2,
        "file_max_mb": 3,
        "max_image_bytes": 4000,
        "max_video_bytes": 5000,
        "max_file_bytes": 6000,
        "keep_days": 7,
    }

    limits = limits_of(settings(media=media))

    assert limits.max_total_bytes == {"image": MIB, "video": 2 * MIB, "file": 3 * MIB}
    assert limits.max_bytes == {"image": 4000, "video": 5000, "file": 6000}
    assert limits.keep_days == 7


def test_nothing_is_bounded_as_a_whole_unless_that_is_set():
    assert set(limits_of(settings()).max_total_bytes.values()) == {0}


def test_forms_are_those_of_the_features():
    forms = forms_of(settings(features={"image_format": "base64", "video_format": "url"}))

    assert (forms.image, forms.video) == ("base64", "url")
