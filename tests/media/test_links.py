"""Links that need no key, signed where they are to expire."""

import time
from urllib.parse import parse_qsl, urlsplit

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.media.links import Links
from groxy.store.media import Stored
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)
ID = "0123456789abcdef" * 2
PLAIN = f"https://groxy.example/v1/files/image?id={ID}"


def stored(kind="image"):
    return Stored(
        id=ID,
        kind=kind,
        owner="key_1",
        name="",
        purpose="",
        content_type="image/png",
        size_bytes=5,
        etag="e",
        created_ms=1,
    )


def query_of(link):
    return dict(parse_qsl(urlsplit(link).query))


def refused(links, query, kind="image"):
    with pytest.raises(GroxyError) as caught:
        links.check(kind, query)
    return (caught.value.kind, caught.value.code) == (ErrorKind.NOT_FOUND, "file_not_found")


def test_a_link_leads_to_the_public_address_or_to_where_the_request_came():
    assert Links("https://groxy.example", SECRET).of(stored(), "http://127.0.0.1:8000") == PLAIN
    assert Links("https://groxy.example/", SECRET).of(stored()) == PLAIN
    assert Links("", SECRET).of(stored("video"), "http://127.0.0.1:8000/") == (
        f"http://127.0.0.1:8000/v1/files/video?id={ID}"
    )


def test_a_file_has_no_link():
    with pytest.raises(ValueError, match="no links"):
        Links("", SECRET).of(stored("file"))


def test_a_link_that_lasts_is_not_signed():
    links = Links("https://groxy.example", SECRET)
    links.check("image", {"id": ID})
    links.check("image", {"id": ID, "expires": "1", "sig": "x"})


@pytest.fixture
def signed():
    links = Links("https://groxy.example", SECRET, 60)
    return links, query_of(links.of(stored()))


def test_a_signed_link_works_until_its_time_is_up(signed, monkeypatch):
    links, query = signed
    links.check("image", query)
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 58_000_000_000)
    links.check("image", query)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 61_000_000_000)
    assert refused(links, query)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "f" * 32},
        {"expires": "99999999999"},
        {"expires": ""},
        {"expires": "x"},
        {"expires": "9" * 5_000},
        {"expires": "-1"},
        {"sig": ""},
        {"sig": "0" * 64},
        {"sig": "größer"},
        {"sig": "0" * 100_000},
    ],
)
def test_a_changed_link_leads_nowhere(signed, change):
    links, query = signed
    assert refused(links, query | change)


def test_a_longer_or_shorter_signature_is_none(signed):
    links, query = signed
    assert refused(links, query | {"sig": query["sig"] + "0"})
    assert refused(links, query | {"sig": query["sig"][:-1]})


def test_a_link_to_a_picture_is_none_to_a_film(signed):
    links, query = signed
    assert refused(links, query, kind="video")


def test_links_of_another_installation_lead_nowhere(signed):
    _, query = signed
    assert refused(Links("", InstallationSecret(b"o" * 32), 60), query)


def test_without_a_signature_a_link_leads_nowhere_where_links_expire(signed):
    links, _ = signed
    assert refused(links, {"id": ID})


@pytest.mark.parametrize("ttl_s", [0, 60])
def test_a_link_of_ours_is_read_again(ttl_s):
    links = Links("https://groxy.example", SECRET, ttl_s)
    assert links.read(links.of(stored("video"))) == ("video", ID)


@pytest.mark.parametrize(
    "url",
    [
        f"https://other.example/v1/files/image?id={ID}",
        f"https://groxy.example.evil/v1/files/image?id={ID}",
        f"https://groxy.example/v1/files/other?id={ID}",
        "https://groxy.example/v1/files/image?id=1",
        "https://groxy.example/v1/files/image",
        "https://groxy.example/v1/files/image?" + "a=1&" * 400 + f"id={ID}" + "x" * 9_999,
        "",
    ],
)
def test_other_urls_are_none_of_ours(url):
    assert Links("https://groxy.example", SECRET).read(url) is None


def test_without_a_public_address_no_link_is_known_to_be_ours():
    links = Links("", SECRET)
    assert links.read(links.of(stored(), "http://h")) is None
    assert links.read(f"/v1/files/image?id={ID}") is None


def test_an_unsigned_link_is_not_read_where_links_expire():
    assert Links("https://groxy.example", SECRET, 60).read(PLAIN) is None
