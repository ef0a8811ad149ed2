"""Stored content: whole or in part, and what is wrong is told before the first byte."""

import pytest

from tests.api.media_counter import PICTURE, SIZE, counter_in


@pytest.fixture
async def counter(tmp_path):
    async with counter_in(tmp_path) as it:
        yield it


async def test_head_tells_the_same_without_the_content(counter):
    link = counter.links.of(await counter.picture())
    get, head = await counter.get(link), await counter.get(link, "HEAD")

    assert (head.status, head.body) == (200, b"")
    ids = {"x-request-id", "request-id"}
    assert {k: v for k, v in head.headers.items() if k not in ids} == {
        k: v for k, v in get.headers.items() if k not in ids
    }


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=5-", 5, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=10-{SIZE + 50}", 10, SIZE),
        ("bytes=10-999999999999999999", 10, SIZE),
        (" Bytes= 5 - 9 ", 5, 10),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
async def test_a_part_is_served(counter, wanted, start, end):
    link = counter.links.of(await counter.picture())
    answer = await counter.get(link, range=wanted)

    assert (answer.status, answer.body) == (206, PICTURE[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=0-1,5-6",
        "bytes=9-5",
        "bytes=-",
        "bytes=a-b",
        "lines=1-2",
        "bytes=" + "1" * 5_000 + "-",
        f"bytes=-{SIZE}",
        f"bytes=-{SIZE + 5}",
        "bytes=0-",
        "bytes=²-³",
        "",
    ],
)
async def test_what_is_no_single_range_gets_the_whole(counter, wanted):
    link = counter.links.of(await counter.picture())
    answer = await counter.get(link, range=wanted)

    assert (answer.status, len(answer.body)) == (200, SIZE)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", "bytes=9999999-99999999", "bytes=-0"])
async def test_a_range_behind_the_end_is_refused_with_the_size(counter, wanted):
    answer = await counter.get(counter.links.of(await counter.picture()), range=wanted)

    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
async def test_what_the_client_has_is_not_sent_again(counter, form):
    stored = await counter.picture()
    link = counter.links.of(stored)
    answer = await counter.get(link, if_none_match=form.format(stored.etag))

    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == f'"{stored.etag}"'
    assert (await counter.get(link, if_none_match='"other"')).status == 200


async def test_a_part_of_something_else_is_never_mixed_in(counter):
    stored = await counter.picture()
    link = counter.links.of(stored)

    same = await counter.get(link, range="bytes=0-4", if_range=f'"{stored.etag}"')
    other = await counter.get(link, range="bytes=0-4", if_range='"other"')

    assert (same.status, other.status) == (206, 200)


async def test_bytes_that_are_gone_are_not_found(counter, tmp_path):
    stored = await counter.picture()
    (tmp_path / "media" / "image" / stored.id).unlink()

    assert (await counter.get(counter.links.of(stored))).status == 404


async def test_a_failing_store_is_told_before_the_first_byte(counter, tmp_path):
    stored = await counter.picture()
    (tmp_path / "media" / "image" / stored.id).unlink()
    (tmp_path / "media" / "image").rmdir()
    (tmp_path / "media" / "image").write_text("in its place")

    answer = await counter.get(counter.links.of(stored))

    assert (answer.status, answer.error["code"]) == (503, "media_store_unavailable")
    assert answer.headers["retry-after"] == "5"
