"""The endpoints of film jobs, over the sandbox in this process."""

import asyncio

import pytest

from tests.api.conftest import OTHER_KEY
from tests.gateway.darkroom import PNG, PNG_URI

PATH = "/v1/videos"
MODEL = "grok-imagine-video"
QUICK = "[[sandbox: takes=0]]"
BOUNDARY = "groxy-test-boundary"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Write a multipart form: name, file name, content."""
    written = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
        written += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
        written += content + b"\r\n"
    return written + f"--{BOUNDARY}--\r\n".encode()


def order(**fields):
    return {"model": MODEL, "prompt": f"a boat {QUICK}", "seconds": 1, "size": "auto"} | fields


async def over(asker, job_id):
    """Return a job once it has ended."""
    async with asyncio.timeout(30):
        while True:
            job = (await asker.get(f"{PATH}/{job_id}")).json
            if job["status"] in ("completed", "failed"):
                return job
            await asyncio.sleep(0.05)


async def test_an_order_is_answered_at_once_with_the_job(asker):
    answer = await asker.post(PATH, order(seconds=6, size="1280x720", preset="fun"))
    assert answer.status == 200
    job = answer.json
    assert job["id"].startswith("video_")
    assert len(job["id"]) == len("video_") + 32
    assert (job["object"], job["status"], job["progress"]) == ("video", "queued", 0)
    assert (job["seconds"], job["size"], job["quality"]) == ("6", "1280x720", "standard")
    assert answer.headers["openai-poll-after-ms"] == "1000"


async def test_a_film_is_made_linked_and_sent(asker):
    job_id = (await asker.post(PATH, order())).json["id"]
    early = await asker.get(f"{PATH}/{job_id}/content")
    assert (early.status, early.error["code"]) == (409, "video_not_ready")
    job = await over(asker, job_id)
    assert (job["status"], job["progress"]) == ("completed", 100)
    assert job["completed_at"] >= job["created_at"]
    assert job["video_url"].startswith("http://testserver/v1/files/video?id=")
    content = await asker.get(f"{PATH}/{job_id}/content")
    assert (content.status, content.headers["content-type"]) == (200, "video/mp4")
    assert content.body[4:8] == b"ftyp"
    part = await asker.get(f"{PATH}/{job_id}/content", headers={"range": "bytes=-4"})
    assert (part.status, part.body) == (206, content.body[-4:])


async def test_forms_and_json_say_the_same(asker):
    body = form(
        ("model", None, MODEL.encode()),
        ("prompt", None, f"a boat {QUICK}".encode()),
        ("seconds", None, b"1"),
        ("size", None, b"1280x720"),
        ("input_reference", "a.txt", PNG),
    )
    answer = await asker.post(PATH, body, headers=FORM)
    assert (answer.status, answer.json["seconds"]) == (200, "1")
    assert (await over(asker, answer.json["id"]))["status"] == "completed"


async def test_references_are_checked_by_what_is_in_them(asker):
    answer = await asker.post(PATH, order(input_reference=PNG_URI))
    assert answer.status == 200
    upload = form(("purpose", None, b"vision"), ("file", "a.png", PNG))
    file_id = (await asker.post("/v1/files", upload, headers=FORM)).json["id"]
    answer = await asker.post(PATH, order(input_reference={"file_id": file_id}))
    assert answer.status == 200
    stolen = await asker.post(PATH, order(input_reference={"file_id": file_id}), key=OTHER_KEY)
    assert (stolen.status, stolen.error["param"]) == (404, "input_reference")


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        (order(input_reference="data:image/png;base64,AAAA"), {}, "input_reference"),
        (order(input_reference=PNG_URI[: len(PNG_URI) // 2]), {}, "input_reference"),
        (form(("input_reference", "a.png", b"")), FORM, "model"),
        (form(("model", None, b"m"), ("prompt", None, b"p"), ("movie", "a", b"x")), FORM, "movie"),
        (order(prompt=""), {}, "prompt"),
        (order(model="grok-4.3"), {}, "model"),
        (b"{", {}, None),
        (b"--nothing", FORM, None),
    ],
)
async def test_what_is_wrong_is_named(asker, body, headers, param):
    answer = await asker.post(PATH, body, headers=headers)
    assert answer.status == 400
    assert answer.error["param"] == param


async def test_a_picture_of_a_form_that_is_none_is_named(asker):
    for content in (b"", b"GIF89a", b"no picture"):
        body = form(
            ("model", None, MODEL.encode()),
            ("prompt", None, b"p"),
            ("input_reference[]", "a.png", content),
        )
        answer = await asker.post(PATH, body, headers=FORM)
        assert (answer.status, answer.error["param"]) == (400, "input_reference")


async def test_more_references_than_a_film_can_have_are_refused(asker):
    files = [("input_reference[]", f"{number}.png", PNG) for number in range(8)]
    answer = await asker.post(PATH, form(*files), headers=FORM)
    assert answer.status == 400


async def test_jobs_are_listed_and_deleted(asker):
    ids = [(await asker.post(PATH, order(prompt=f"{n} {QUICK}"))).json["id"] for n in range(3)]
    listed = (await asker.get(PATH, query="limit=2")).json
    assert (listed["object"], listed["has_more"], len(listed["data"])) == ("list", True, 2)
    rest = (await asker.get(PATH, query=f"limit=2&after={listed['last_id']}")).json
    assert {job["id"] for job in listed["data"] + rest["data"]} == set(ids)
    for job_id in ids:
        gone = await asker.delete(f"{PATH}/{job_id}")
        assert gone.json == {"id": job_id, "object": "video.deleted", "deleted": True}
        assert (await asker.get(f"{PATH}/{job_id}")).status == 404
    assert (await asker.get(PATH)).json["data"] == []


@pytest.mark.parametrize(
    ("query", "param"), [("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order")]
)
async def test_lists_are_asked_for_in_known_words(asker, query, param):
    answer = await asker.get(PATH, query=query)
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_nobody_sees_anothers_jobs(asker):
    job_id = (await asker.post(PATH, order())).json["id"]
    for path in (f"{PATH}/{job_id}", f"{PATH}/{job_id}/content"):
        answer = await asker.get(path, key=OTHER_KEY)
        assert (answer.status, answer.error["code"]) == (404, "video_not_found")
    assert (await asker.delete(f"{PATH}/{job_id}", key=OTHER_KEY)).status == 404
    assert (await asker.get(PATH, key=OTHER_KEY)).json["data"] == []
    assert (await asker.get(f"{PATH}/{job_id}", key=None)).status == 401


async def test_xais_words_are_answered_in_xais_words(asker):
    body = {"model": MODEL, "prompt": f"a boat {QUICK}", "duration": 1}
    request_id = (await asker.post(f"{PATH}/generations", body)).json["request_id"]
    async with asyncio.timeout(30):
        while (state := await asker.get(f"{PATH}/{request_id}")).status == 202:
            assert state.json["status"] == "pending"
            await asyncio.sleep(0.05)
    assert state.json["status"] == "done"
    assert state.json["video"]["url"].startswith("http://testserver/v1/files/video?id=")


async def test_a_thumbnail_is_refused_by_name(asker):
    job_id = (await asker.post(PATH, order())).json["id"]
    answer = await asker.get(f"{PATH}/{job_id}/content", query="variant=thumbnail")
    assert (answer.status, answer.error["param"]) == (400, "variant")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_film_is_made_through_chat(asker, stream):
    content = "a boat [[sandbox: takes=0.2]]"
    body = {
        "model": MODEL,
        "stream": stream,
        "messages": [{"role": "user", "content": content}],
        "video_config": {"seconds": 1, "size": "1280x720", "resolution_name": "480p"},
    }
    answer = await asker.post("/v1/chat/completions", body)
    assert answer.status == 200
    assert b"http://testserver/v1/files/video?id=" in answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n") is stream
    (job,) = (await asker.get(PATH)).json["data"]
    assert (job["status"], job["seconds"]) == ("completed", "1")
