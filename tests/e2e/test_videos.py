"""Film jobs of real gateway processes: killed in any state, shared by two, by official clients."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.e2e.running import KEY, Gateway, Reply, config_toml, poll, running
from tests.e2e.studio import TICKS_PER_S, Studio
from tests.gateway.film_set import FILM

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    # The client warns that OpenAI's own films end; the endpoints live on here.
    pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning"),
]

OTHER_KEY = "sk-e2e-somebody-else"
MODEL = "grok-imagine-video"


@pytest.fixture
def studio() -> Iterator[Studio]:
    with Studio() as server:
        yield server


def account(studio: Studio, name: str = "studio") -> str:
    return f"""
[[accounts]]
name = "{name}"
upstream = "xai"
api_key = "xai-secret-of-{name}"
base_url = "{studio.base_url}"
pool = "heavy"
"""


def config(studio: Studio, extra: str = "") -> str:
    """Two callers' keys and an account at the studio."""
    keys = f'[app]\napi_key = "{KEY},{OTHER_KEY}"\n'
    return f"{keys}{extra}\n{account(studio)}"


def order(gateway: Gateway, prompt: str, **fields: Any) -> Reply:
    body = {"model": MODEL, "prompt": prompt} | fields
    return gateway.request("POST", "/v1/videos", json.dumps(body).encode(), gateway.auth)


def ordered(gateway: Gateway, prompt: str, **fields: Any) -> str:
    reply = order(gateway, prompt, **fields)
    assert reply.status == 200, reply.body
    job_id: str = reply.json["id"]
    return job_id


def look(gateway: Gateway, job_id: str, key: str = KEY) -> Reply:
    return gateway.get(f"/v1/videos/{job_id}", {"Authorization": f"Bearer {key}"})


def until_over(gateway: Gateway, job_id: str, within_s: float = 30.0) -> dict[str, Any]:
    def over() -> Any:
        job = look(gateway, job_id).json
        return job if job["status"] in ("completed", "failed") else None

    job: dict[str, Any] = poll(over, within_s=within_s, what=f"the end of {job_id}")
    return job


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_killed_in_every_state_jobs_go_on_and_nothing_is_asked_or_charged_twice(
    studio, tmp_path, request, store
):
    extra = ""
    if store == "postgres":
        server = request.getfixturevalue("postgres")
        extra = f'[store]\nurl = "{server.empty_database()}"\n'
    gateway = Gateway(folder=tmp_path, config=config(studio, extra))
    with running(gateway):
        states = {
            "ends well": "completed",
            "fails": "failed",
            "hold-order": "queued",
            "hold-film": "in_progress",
            "hold-content": "in_progress",
        }
        jobs = {prompt: ordered(gateway, prompt) for prompt in states}
        poll(lambda: studio.orders["hold-order"], what="the order")
        poll(lambda: studio.looks["hold-film"], what="the look")
        poll(lambda: studio.fetches["hold-content"], what="the fetch")
        for prompt in ("ends well", "fails"):
            until_over(gateway, jobs[prompt])
        for prompt, status in states.items():
            assert look(gateway, jobs[prompt]).json["status"] == status, prompt
        # Now the account is at its limit, and this one waits for it.
        jobs["busy"] = ordered(gateway, "busy")
        poll(lambda: "film attempt failed" in gateway.log, what="being refused")
        time.sleep(0.5)  # What was refused is noted by then: until it is, nobody knows.
        gateway.kill()
        studio.go_on()
        gateway.start()

        ends = {prompt: until_over(gateway, job_id) for prompt, job_id in jobs.items()}

        assert {prompt: job["status"] for prompt, job in ends.items()} == {
            "ends well": "completed",
            "fails": "failed",
            "hold-order": "failed",
            "hold-film": "completed",
            "hold-content": "completed",
            "busy": "completed",
        }
        assert ends["hold-order"]["error"]["code"] == "upstream_unknown_outcome"
        assert ends["fails"]["error"] == {
            "code": "video_generation_failed",
            "message": "The film tore.",
        }
        taken = {prompt: count for prompt, count in studio.orders.items() if prompt != "busy"}
        assert set(taken.values()) == {1}, "no upstream is asked twice"
        for prompt, job in ends.items():
            if job["status"] == "completed":
                content = gateway.get(f"/v1/videos/{jobs[prompt]}/content", gateway.auth)
                assert content.body == FILM, prompt
        if store == "sqlite":
            charged = {entry.reply_id: entry.cost_ticks for entry in gateway.entries()}
            assert len(gateway.entries()) == len(jobs)
            assert charged == {
                jobs[prompt]: TICKS_PER_S * 6 if job["status"] == "completed" else 0
                for prompt, job in ends.items()
            }


@pytest.mark.postgres
def test_a_job_of_one_process_is_seen_fetched_and_cancelled_at_another(studio, tmp_path, postgres):
    secret = f'secret_key = "{"5a" * 32}"\n'
    store = f'[store]\nurl = "{postgres.empty_database()}"\n'
    media = f'[media]\nurl = "{(tmp_path / "films").as_uri()}"\n'
    (tmp_path / "films").mkdir()
    both = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        whole = config(studio, secret + store + media)
        both.append(Gateway(folder=tmp_path / name, config=whole))
    with running(both[0]) as one, running(both[1]) as two:
        job_id = ordered(one, "ends well")
        assert until_over(two, job_id)["status"] == "completed"
        assert two.get(f"/v1/videos/{job_id}/content", two.auth).body == FILM

        held = ordered(one, "hold-film")
        poll(lambda: studio.looks["hold-film"], what="the look")
        gone = two.request("DELETE", f"/v1/videos/{held}", headers=two.auth)
        assert gone.json == {"id": held, "object": "video.deleted", "deleted": True}
        assert look(one, held).status == 404

        # What one began, the other ends when the one dies.
        left = ordered(one, "hold-film twice")
        poll(lambda: studio.looks["hold-film twice"], what="the look")
        one.kill()
        two_before = studio.orders["hold-film twice"]
        studio.go_on()
        assert until_over(two, left)["status"] == "completed"
        assert studio.orders["hold-film twice"] == two_before == 1


def test_two_hundred_jobs_at_once_all_end(studio, tmp_path):
    with running(Gateway(folder=tmp_path, config=config(studio))) as gateway:

        async def run() -> None:
            async with openai.AsyncOpenAI(
                base_url=f"{gateway.url}/v1", api_key=KEY, timeout=60.0
            ) as client:

                async def one(number: int) -> str:
                    job = await client.videos.create(model=MODEL, prompt=f"film {number}")
                    return job.id

                ids = await asyncio.gather(*(one(number) for number in range(200)))
                assert len(set(ids)) == 200
                ends_at = time.monotonic() + 60
                left = set(ids)
                while left:
                    assert time.monotonic() < ends_at
                    page = await client.videos.list(limit=100)
                    async for job in page:
                        if job.status == "completed":
                            left.discard(job.id)
                    await asyncio.sleep(0.2)

        asyncio.run(run())
        assert set(studio.orders.values()) == {1}
        assert len(studio.orders) == 200
        entries = gateway.entries()
        assert len(entries) == 200
        assert {entry.cost_ticks for entry in entries} == {TICKS_PER_S * 6}


def test_a_gateway_that_is_stopped_hands_its_jobs_on_without_delay(studio, tmp_path):
    gateway = Gateway(folder=tmp_path, config=config(studio))
    with running(gateway):
        job_id = ordered(gateway, "hold-film")
        poll(lambda: studio.looks["hold-film"], what="the look")
        assert gateway.stop() == 0
        studio.go_on()
        gateway.start()
        began = time.monotonic()
        assert until_over(gateway, job_id)["status"] == "completed"
        assert time.monotonic() - began < 5.0
        assert studio.orders["hold-film"] == 1


def test_jobs_are_their_owners_alone(studio, tmp_path):
    with running(Gateway(folder=tmp_path, config=config(studio))) as gateway:
        job_id = ordered(gateway, "ends well")
        until_over(gateway, job_id)
        other = {"Authorization": f"Bearer {OTHER_KEY}"}
        for path in (f"/v1/videos/{job_id}", f"/v1/videos/{job_id}/content"):
            assert gateway.get(path, other).status == 404
        assert gateway.request("DELETE", f"/v1/videos/{job_id}", headers=other).status == 404
        assert gateway.get("/v1/videos", other).json["data"] == []
        assert look(gateway, job_id).json["status"] == "completed"


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory) -> Iterator[Gateway]:
    """A gateway with nothing but the sandbox."""
    with running(Gateway(folder=tmp_path_factory.mktemp("films"), config=config_toml())) as gateway:
        yield gateway


@pytest.fixture
def client(sandboxed) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{sandboxed.url}/v1", api_key=KEY, max_retries=0) as opened:
        yield opened


def test_openais_client_makes_follows_lists_downloads_and_deletes_films(client, tmp_path):
    job = client.videos.create(model=MODEL, prompt="a boat", seconds="6", size="1280x720")
    assert (job.object, job.seconds, job.size, job.prompt) == ("video", "6", "1280x720", "a boat")
    with pytest.raises(openai.ConflictError) as raised:
        client.videos.download_content(job.id)
    assert raised.value.code == "video_not_ready"

    done = client.videos.poll(job.id)
    assert (done.status, done.progress, done.error) == ("completed", 100, None)
    assert done.completed_at
    content = client.videos.download_content(job.id)
    content.write_to_file(tmp_path / "film.mp4")
    assert frames_of(tmp_path / "film.mp4") > 10

    assert job.id in [one.id for one in client.videos.list(limit=1)]
    assert client.videos.delete(job.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(job.id)


def test_openais_client_sends_a_picture_to_start_from(client):
    from tests.gateway.darkroom import PNG

    picture = ("cat.png", PNG, "image/png")
    done = client.videos.create_and_poll(model=MODEL, prompt="it moves", input_reference=picture)
    assert done.status == "completed"
    client.videos.delete(done.id)


@pytest.mark.parametrize("seconds", ["10", "20"])
def test_films_are_as_long_as_was_asked(client, tmp_path, seconds):
    done = client.videos.create_and_poll(
        model=MODEL,
        prompt="a long way",
        seconds=seconds,
        size="720x1280",
        extra_body={"resolution_name": "480p"},
    )
    assert (done.status, done.seconds) == ("completed", seconds)
    client.videos.download_content(done.id).write_to_file(tmp_path / "film.mp4")
    assert seconds_of(tmp_path / "film.mp4") == pytest.approx(int(seconds), abs=0.5)


def test_a_link_to_a_film_needs_no_key_and_serves_parts(sandboxed):
    job = until_over(sandboxed, ordered(sandboxed, "a boat", seconds=1))
    path = job["video_url"].removeprefix(sandboxed.url)
    whole = sandboxed.get(path)
    assert (whole.status, whole.headers["content-type"]) == (200, "video/mp4")
    part = sandboxed.get(path, {"Range": "bytes=4-7"})
    assert (part.status, part.body) == (206, b"ftyp")
    content = f"/v1/videos/{job['id']}/content"
    part = sandboxed.get(content, sandboxed.auth | {"Range": "bytes=4-7"})
    assert (part.status, part.body) == (206, b"ftyp")
    head = sandboxed.request("HEAD", content, headers=sandboxed.auth)
    assert (head.status, head.body, head.headers["content-length"]) == (
        200,
        b"",
        whole.headers["content-length"],
    )
    thumbnail = sandboxed.get(f"{content}?variant=thumbnail", sandboxed.auth)
    assert (thumbnail.status, thumbnail.error["param"]) == (400, "variant")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("film=failed", "video_generation_failed"),
        ("film=expired", "video_generation_failed"),
        ("film=refused", "content_policy_violation"),
        ("moderated=1", "content_policy_violation"),
    ],
)
def test_films_that_the_sandbox_spoils_fail_and_cost_nothing(sandboxed, words, code):
    job_id = ordered(sandboxed, f"a boat [[sandbox: {words}]]", seconds=1)
    job = until_over(sandboxed, job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", code)
    (entry,) = [one for one in sandboxed.entries() if one.reply_id == job_id]
    assert entry.cost_ticks == 0


def test_xais_words_are_answered_in_xais_words(sandboxed):
    body = {"model": MODEL, "prompt": "a boat", "duration": 1, "aspect_ratio": "16:9"}
    asked = sandboxed.request(
        "POST", "/v1/videos/generations", json.dumps(body).encode(), sandboxed.auth
    )
    request_id = asked.json["request_id"]
    first = look(sandboxed, request_id)
    assert (first.status, first.json["status"]) == (202, "pending")
    done = poll(
        lambda: (found := look(sandboxed, request_id)).status == 200 and found.json,
        within_s=30,
        what="the film",
    )
    assert done["status"] == "done"
    assert done["video"]["respect_moderation"] is True
    assert done["usage"]["cost_in_usd_ticks"] > 0
    assert sandboxed.get(done["video"]["url"].removeprefix(sandboxed.url)).status == 200


def test_orders_that_cannot_be_are_refused_at_once_and_by_name(sandboxed):
    def refused(**fields: Any) -> tuple[int, str]:
        reply = order(sandboxed, fields.pop("prompt", "a boat"), **fields)
        return reply.status, reply.error["param"]

    assert refused(model="grok-4.3") == (400, "model")
    assert refused(model="no-such-model") == (400, "model")
    assert refused(model="grok-imagine-image") == (400, "model")
    assert refused(prompt="") == (400, "prompt")
    assert refused(seconds=21) == (400, "seconds")
    assert refused(size="1x1") == (400, "size")
    assert refused(preset="x") == (400, "preset")
    assert refused(input_reference="data:image/png;base64,AAAA") == (400, "input_reference")
    assert refused(input_reference="file-" + "0" * 32) == (404, "input_reference")
    missing = look(sandboxed, "video_" + "0" * 32)
    assert (missing.status, missing.error["code"]) == (404, "video_not_found")


def test_sixty_megabytes_and_a_hundred_thousand_parts_are_refused(sandboxed):
    boundary = "groxy-test-boundary"
    headers = sandboxed.auth | {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'.encode()
    many = part * 100_000 + f"--{boundary}--\r\n".encode()
    assert sandboxed.request("POST", "/v1/videos", many, headers).status == 400
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="input_reference"; '
        'filename="a.png"\r\n\r\n'
    ).encode()
    huge = head + b"\0" * (60 * 1024 * 1024) + f"\r\n--{boundary}--\r\n".encode()
    reply = sandboxed.request("POST", "/v1/videos", huge, headers)
    assert (reply.status, reply.error["param"]) == (413, "input_reference")
    empty = head + f"\r\n--{boundary}--\r\n".encode()
    prompt = f'--{boundary}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n'.encode()
    model = prompt.replace(b'"prompt"', b'"model"').replace(
        b"\r\n\r\nx", b"\r\n\r\n" + MODEL.encode()
    )
    reply = sandboxed.request("POST", "/v1/videos", prompt + model + empty, headers)
    assert (reply.status, reply.error["param"]) == (400, "input_reference")


def frames_of(path: Any) -> int:
    import av

    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def seconds_of(path: Any) -> float:
    import av

    with av.open(str(path)) as film:
        assert film.duration is not None
        return film.duration / 1_000_000
