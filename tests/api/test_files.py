"""Stored media by link and the Files API, over a shelf of their own."""

import time
import tracemalloc

import httpx2
import openai
import pytest

from tests.api.conftest import OTHER_KEY
from tests.api.media_counter import BOUNDARY, FORM, MOST, PICTURE, SIZE, counter_in, form
from tests.inprocess import KEY


@pytest.fixture
async def counter(tmp_path):
    async with counter_in(tmp_path) as it:
        yield it


# ---------------------------------------------------------------------------------------- links


async def test_a_link_needs_no_key_and_gives_all_that_players_and_caches_need(counter):
    stored = await counter.picture()

    answer = await counter.get(counter.links.of(stored))

    assert (answer.status, answer.body) == (200, PICTURE)
    headers = {name: answer.headers.get(name) for name in EXPECTED}
    assert headers == {
        **EXPECTED,
        "etag": f'"{stored.etag}"',
        "content-length": str(len(PICTURE)),
        "content-disposition": f'inline; filename="{stored.id}.png"',
    }


EXPECTED = {
    "content-type": "image/png",
    "accept-ranges": "bytes",
    "cache-control": "public, max-age=31536000, immutable",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; media-src 'self'; sandbox",
    "etag": None,
    "content-length": None,
    "content-disposition": None,
}


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "0" * 37, "G" * 32, "0" * 15])
async def test_a_malformed_id_is_refused(counter, name):
    answer = await counter.get(f"/v1/files/image?id={name}")

    assert (answer.status, answer.error["code"], answer.error["param"]) == (
        400,
        "invalid_file_id",
        "id",
    )


async def test_what_is_not_there_is_not_found(counter):
    film = await counter.picture(kind="video", content_type="video/mp4")
    file = await counter.picture(kind="file")

    for name in ("0" * 32, "0-" * 16, film.id, file.id):
        answer = await counter.get(f"/v1/files/image?id={name}")
        assert (answer.status, answer.error["code"]) == (404, "file_not_found")
    assert (await counter.get(f"/v1/files/video?id={film.id}")).status == 200
    assert (await counter.get("/v1/files/image")).status == 400


async def test_links_that_expire_work_as_they_are_and_for_a_while(tmp_path, monkeypatch):
    async with counter_in(tmp_path, ttl_s=60) as counter:
        stored = await counter.picture()
        link = counter.links.of(stored)
        good = await counter.get(link)
        assert (good.status, good.headers["cache-control"]) == (200, "private, max-age=60")
        bare, forged = link.partition("&")[0], link[:-1] + ("0" if link[-1] != "0" else "1")
        assert (await counter.get(bare)).status == 404
        assert (await counter.get(forged)).status == 404
        assert (await counter.get(link + f"&id={'0' * 32}")).status == 200
        now_ns = time.time_ns()
        monkeypatch.setattr(time, "time_ns", lambda: now_ns + 61_000_000_000)
        assert (await counter.get(link)).status == 404


# ------------------------------------------------------------------------------------ Files API


async def test_the_official_client_works_as_it_is(counter):
    transport = httpx2.ASGITransport(app=counter.app)
    async with openai.AsyncOpenAI(
        api_key=KEY,
        base_url="http://testserver/v1",
        http_client=httpx2.AsyncClient(transport=transport),
        max_retries=0,
    ) as client:
        file = await client.files.create(
            file=("größe.png", PICTURE),
            purpose="vision",
            expires_after={"anchor": "created_at", "seconds": 86_400},
        )
        other = await client.files.create(file=b"plain bytes", purpose="user_data")
        listed = [one async for one in client.files.list(limit=1)]
        found = await client.files.retrieve(file.id)
        content = await client.files.content(file.id)
        deleted = await client.files.delete(file.id)
        with pytest.raises(openai.NotFoundError) as caught:
            await client.files.retrieve(file.id)

    assert (file.filename, file.bytes, file.purpose) == ("größe.png", SIZE, "vision")
    assert file.expires_at is not None
    assert {one.id for one in listed} == {file.id, other.id}
    assert len(listed) == 2
    assert (found, content.content) == (file, PICTURE)
    assert deleted.deleted
    assert caught.value.code == "file_not_found"


async def test_a_file_goes_its_way(counter):
    answer = await counter.upload()
    file = answer.json
    name = file["id"]

    assert answer.status == 200
    assert file == {
        "id": name,
        "object": "file",
        "bytes": 11,
        "created_at": file["created_at"],
        "expires_at": None,
        "filename": "a.txt",
        "purpose": "user_data",
        "status": "processed",
        "status_details": None,
    }
    assert abs(file["created_at"] - time.time()) < 5
    assert (await counter.call("GET", f"/{name}")).json == file
    content = await counter.call("GET", f"/{name}/content")
    assert content.body == b"Some words."
    assert content.headers["content-disposition"] == 'attachment; filename="a.txt"'
    assert content.headers["cache-control"] == "private, max-age=3600"
    assert (await counter.call("DELETE", f"/{name}")).json == {
        "id": name,
        "object": "file",
        "deleted": True,
    }
    assert (await counter.call("GET", f"/{name}")).status == 404
    assert (await counter.call("DELETE", f"/{name}")).status == 404


async def test_nobody_else_has_anything_of_a_file(counter):
    name = (await counter.upload()).json["id"]

    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        answer = await counter.call(method, f"/{name}{path}", key=OTHER_KEY)
        assert (answer.status, answer.error["param"]) == (404, "file_id")
    assert (await counter.call("GET", key=OTHER_KEY)).json["data"] == []
    assert (await counter.call("GET", f"/{name}")).status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_files_need_a_key(counter, method):
    assert (await counter.call(method, key=None)).status == 401
    assert (await counter.call("GET", "/file-1", key="sk-wrong")).status == 401


async def test_files_are_listed_page_by_page(counter):
    names = [(await counter.upload(name=f"{n}.txt")).json["id"] for n in range(3)]
    await counter.upload(key=OTHER_KEY)
    at = {name: (await counter.shelf.file(name, "key_1")) for name in names}
    names.sort(key=lambda name: (at[name].created_ms, at[name].id))

    first = (await counter.call("GET", query="limit=2")).json
    rest = (await counter.call("GET", query=f"limit=2&after={first['last_id']}")).json
    ascending = (await counter.call("GET", query="order=asc")).json

    assert [one["id"] for one in first["data"]] == names[:0:-1]
    assert (first["object"], first["has_more"], first["first_id"]) == ("list", True, names[2])
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (names[:1], False)
    assert [one["id"] for one in ascending["data"]] == names


async def test_files_are_listed_by_what_they_are_for(counter):
    await counter.upload()
    batch = (await counter.upload(purpose="batch")).json

    assert (await counter.call("GET", query="purpose=batch")).json["data"] == [batch]
    empty = (await counter.call("GET", query="purpose=evals")).json
    assert (empty["data"], empty["first_id"], empty["has_more"]) == ([], None, False)


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("limit=0", 400, "limit"),
        ("limit=10001", 400, "limit"),
        ("limit=x", 400, "limit"),
        ("limit=" + "1" * 9_999, 400, "limit"),
        ("order=up", 400, "order"),
        ("after=file-" + "0" * 32, 404, "after"),
    ],
)
async def test_a_wrong_list_names_its_field(counter, query, status, param):
    answer = await counter.call("GET", query=query)
    assert (answer.status, answer.error["param"]) == (status, param)


async def test_a_file_expires_when_its_owner_says(counter, monkeypatch):
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = (await counter.upload(**fields)).json
    assert file["expires_at"] - file["created_at"] in (3599, 3600)
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 3_601_000_000_000)

    assert (await counter.call("GET", f"/{file['id']}")).status == 404
    assert (await counter.call("GET")).json["data"] == []


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (form(("purpose", None, b"batch")), 400, "file"),
        (form(("file", "a", b""), ("purpose", None, b"batch")), 400, "file"),
        (form(("file", "a", b"x")), 400, "purpose"),
        (form(("file", "a", b"x"), ("purpose", None, b"fun")), 400, "purpose"),
        (form(("file", "a", b"x" * (MOST + 1)), ("purpose", None, b"batch")), 413, "file"),
        (form(("file", "a", b"x" * MOST * 2)), 413, None),
        (form(*[("file", "a", b"x")] * 2), 400, "file"),
        (form(*[("x", None, b"x")] * 9_000), 400, "x"),
        (form(*[("file", "a", b"")] * 10_000), 400, "file"),
        (b"--" + BOUNDARY.encode() + b"-" * 900_000, 400, "file"),
        (b"--" + b"x" * 900_000, 400, None),
        (form(("file", "a", b"x"))[:-20], 400, None),
        (b"", 400, None),
        (
            form(
                ("file", "a", b"x"),
                ("purpose", None, b"batch"),
                ("expires_after[anchor]", None, b"now"),
            ),
            400,
            "expires_after.anchor",
        ),
        (
            form(
                ("file", "a", b"x"),
                ("purpose", None, b"batch"),
                ("expires_after[anchor]", None, b"created_at"),
                ("expires_after[seconds]", None, b"3599"),
            ),
            400,
            "expires_after.seconds",
        ),
    ],
)
async def test_a_hostile_or_wrong_upload_names_its_field_and_stores_nothing(
    counter, body, status, param
):
    answer = await counter.call("POST", body=body, headers=FORM)

    assert (answer.status, answer.error["param"]) == (status, param)
    assert (await counter.shelf.stats())["file"].count == 0


async def test_an_upload_that_is_no_form_is_refused(counter):
    answer = await counter.call("POST", body={"file": "x"})
    assert answer.status == 400


@pytest.mark.parametrize(
    ("name", "shown", "saved"),
    [
        ("../../etc/passwd", "passwd", 'filename="passwd"'),
        ("C:\\\\a\\\\b.txt", "b.txt", 'filename="b.txt"'),
        ("größe.txt", "größe.txt", "filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt"),
        ("a;b,c.txt", "a;b,c.txt", 'filename="a_b_c.txt"'),
    ],
)
async def test_the_name_of_a_file_is_made_safe(counter, name, shown, saved):
    file = (await counter.upload(name=name)).json
    content = await counter.call("GET", f"/{file['id']}/content")

    assert file["filename"] == shown
    assert content.headers["content-disposition"] == f"attachment; {saved}"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"<script>alert(1)</script>", "application/octet-stream"),
        (PICTURE, "image/png"),
        (b"%PDF-1.7 ...", "application/pdf"),
    ],
)
async def test_the_type_of_a_file_is_what_it_is_and_never_a_page(counter, content, content_type):
    file = (await counter.upload(content, name="page.html")).json
    answer = await counter.call("GET", f"/{file['id']}/content", headers={"range": "bytes=0-4"})

    assert answer.headers["content-type"] == content_type
    assert (answer.status, answer.body) == (206, content[:5])


async def test_a_full_store_refuses_the_file_and_serves_the_rest(counter, tmp_path):
    stored = await counter.picture()
    (tmp_path / "media" / "file").write_text("in its place")

    answer = await counter.upload()

    assert (answer.status, answer.error["code"]) == (503, "media_store_unavailable")
    assert (await counter.get(counter.links.of(stored))).status == 200
    assert (await counter.shelf.stats())["file"].count == 0


async def test_an_endless_upload_is_broken_off_and_never_held(counter):
    start = form(("purpose", None, b"batch"), ("file", "a", b""))[: -len(f"\r\n--{BOUNDARY}--\r\n")]
    sent, statuses = 0, []

    async def receive():
        nonlocal sent
        piece = start if not sent else b"x" * 65_536
        sent += len(piece)
        return {"type": "http.request", "body": piece, "more_body": sent < 60_000_000}

    async def send(message):
        statuses.append(message.get("status"))

    headers = {**FORM, "authorization": f"Bearer {KEY}"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/files",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    tracemalloc.start()
    try:
        await counter.app(scope, receive, send)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert statuses[0] == 413
    assert most < 5 * MOST
