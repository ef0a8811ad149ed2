"""Sources and sealed thoughts in replies: read leniently, written as clients expect them."""

import json

import pytest
from hypothesis import given
from msgspec import Raw

from groxy.core.events import Cited
from groxy.dialects.chat.sources import cited_in, cited_urls, sealed_in, written_sources
from tests.dialects.chat.odd_replies import ODD_JSON

PLACE = {"url": "https://a/", "title": "A", "start_index": 1, "end_index": 4}
CITED = Cited(url="https://a/", title="A", start=1, end=4, choice=2)


def _raw(value: object) -> Raw:
    return Raw(json.dumps(value).encode())


def test_urls_are_read_and_anything_else_passed_over():
    assert cited_urls(_raw(["https://a/", "", 5, None, {}, "https://b/"])) == [
        "https://a/",
        "https://b/",
    ]


@pytest.mark.parametrize("note", [{"url_citation": PLACE}, PLACE])
def test_an_annotation_is_read_in_both_forms(note):
    assert list(cited_in(_raw([{"type": "url_citation"} | note]), 2)) == [CITED]


@pytest.mark.parametrize("odd", [-1, 2**31, 1.5, "1", None, True])
def test_a_position_that_is_none_is_zero(odd):
    (cited,) = cited_in(_raw([PLACE | {"start_index": odd}]), 0)
    assert cited.start == 0


def test_only_sealed_details_are_read():
    details = [
        {"type": "reasoning.text", "data": "no"},
        {"type": "reasoning.encrypted", "data": "sealed", "id": "rs_1"},
        {"type": "reasoning.encrypted", "data": "more", "id": 5},
        {"type": "reasoning.encrypted", "data": ""},
    ]
    assert list(sealed_in(_raw(details))) == [("sealed", "rs_1"), ("more", "")]


def test_what_is_written_reads_as_what_it_was():
    assert list(cited_in(_raw(written_sources([CITED])), 2)) == [CITED]


@given(ODD_JSON)
def test_no_json_makes_reading_raise(value):
    for raw in (_raw(value), _raw([value]), _raw([{"url_citation": value}])):
        cited_urls(raw)
        list(cited_in(raw, 0))
        list(sealed_in(raw))


@pytest.mark.parametrize("raw", [b"", b"[1e999]", b'["\xff"]', b"[" * 100_000])
def test_what_cannot_be_read_is_nothing(raw):
    assert cited_urls(Raw(raw)) == []
