"""Strict JSON: what is taken, what is refused, and what a refusal says."""

import json
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec import Meta, Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.json import (
    UNREADABLE,
    Fields,
    decode_any,
    decode_fields,
    decode_request,
    decoder,
    encode,
)

SECRET = "my-mothers-maiden-name"


class _Item(msgspec.Struct):
    kind: Literal["red", "blue"]
    size: Annotated[int, Meta(ge=1, le=9)] = 1
    names: list[str] = []
    limits: dict[str, int] = {}


class _Order(msgspec.Struct):
    items: list[_Item]
    note: str | None = None
    is_gift: bool = False
    weight: float = 0.0


_read = decoder(_Order)


def _refusal(body: bytes) -> GroxyError:
    with pytest.raises(GroxyError) as caught:
        decode_request(body, _read)
    return caught.value


def _refusal_if_any(body: bytes) -> GroxyError | None:
    try:
        decode_request(body, _read)
    except GroxyError as error:
        return error
    return None


def test_a_good_body_is_decoded():
    order = decode_request(b'{"items":[{"kind":"red","size":3}],"unknown":[1,{"a":null}]}', _read)
    assert order == _Order(items=[_Item(kind="red", size=3)])


def test_of_duplicate_keys_the_last_one_counts():
    assert decode_request(b'{"items":[],"note":"first","note":"last"}', _read).note == "last"


def test_text_beyond_ascii_is_taken():
    assert decode_request('{"items":[],"note":"猫🐈"}'.encode(), _read).note == "猫🐈"


def test_a_surrogate_pair_is_one_character():
    assert decode_request(rb'{"items":[],"note":"\ud83d\udc08"}', _read).note == "🐈"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "items"),
        (b'{"items":5}', "items"),
        (b'{"items":[5]}', "items.0"),
        (b'{"items":[{}]}', "items.0.kind"),
        (b'{"items":[{"kind":"red"},{"kind":"green"}]}', "items.1.kind"),
        (b'{"items":[{"kind":"red","size":0}]}', "items.0.size"),
        (b'{"items":[{"kind":"red","size":10}]}', "items.0.size"),
        (b'{"items":[{"kind":"red","size":true}]}', "items.0.size"),
        (b'{"items":[{"kind":"red","size":1.5}]}', "items.0.size"),
        (b'{"items":[{"kind":"red","size":"1"}]}', "items.0.size"),
        (b'{"items":[{"kind":"red","size":' + b"9" * 5000 + b"}]}", "items.0.size"),
        (b'{"items":[{"kind":"red","names":["a",2]}]}', "items.0.names.1"),
        (b'{"items":[{"kind":"red","limits":{"a":"b"}}]}', "items.0.limits"),
        (b'{"items":[],"is_gift":1}', "is_gift"),
        (b'{"items":[],"weight":1e999}', "weight"),
        (b'{"items":[],"weight":true}', "weight"),
    ],
)
def test_a_wrong_field_is_named_by_its_dotted_path(body, param):
    error = _refusal(body)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, param)
    assert f"`{param}`" in error.message


def test_a_missing_field_is_called_required():
    assert _refusal(b'{"items":[{}]}').message == "`items.0.kind` is required."


@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"text"', b"true", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused_as_a_whole(body):
    error = _refusal(body)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, None)
    assert "expected `object`" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"items":[]',
        b'{"items":[],}',
        b'{"items":[]} x',
        b"{'items':[]}",
        b'{"items":[]}{"items":[]}',
        b'\xef\xbb\xbf{"items":[]}',
        b"<html>",
        b"\x00",
        b'{"items":[],"unread":NaN}',
        b'{"items":[],"unread":Infinity}',
        b'{"items":[],"unread":-Infinity}',
        b'{"items":[],"weight":NaN}',
        b'{"items":[],"unread":01}',
        b'{"items":[],"unread":1.}',
        b'{"items":[],"unread":"\x01"}',
        rb'{"items":[],"unread":"\x41"}',
        rb'{"items":[],"unread":"\ud800"}',
        rb'{"items":[],"unread":"\udc00"}',
        rb'{"items":[],"unread":"\ud800\u0041"}',
        rb'{"items":[],"\ud800":1}',
        rb'{"items":[],"note":"\ud800"}',
        b'{"items":[]} // comment',
    ],
)
def test_what_is_not_json_is_refused_even_where_nobody_reads_it(body):
    assert _refusal(body).kind is ErrorKind.BAD_JSON


@pytest.mark.parametrize("body", [b"", b" \r\n\t"])
def test_an_empty_body_is_called_empty(body):
    error = _refusal(body)
    assert error.kind is ErrorKind.BAD_JSON
    assert "empty" in error.message


@pytest.mark.parametrize("field", [b'"note"', b'"unread"'])
def test_invalid_utf8_is_refused_with_its_place(field):
    body = b'{"items":[],' + field + b':"\xff"}'
    error = _refusal(body)
    assert error.kind is ErrorKind.BAD_JSON
    assert f"byte {body.index(0xFF)}." in error.message


@pytest.mark.parametrize(
    "bad", [b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"], ids=bytes.hex
)
def test_overlong_surrogate_and_cut_utf8_is_refused(bad):
    assert _refusal(b'{"items":[],"unread":"' + bad + b'"}').kind is ErrorKind.BAD_JSON


@pytest.mark.parametrize("before", [*range(65_530, 65_537), 131_072])
@pytest.mark.parametrize("sign", ["é", "“", "😀"], ids=ascii)
def test_text_is_checked_across_its_pieces(before, sign):
    head = b'{"items":[],"unread":"'
    good = head + b"x" * (before - len(head)) + sign.encode() + b"y" * 70_000 + b'"}'
    cut = good[:before] + sign.encode()[:-1] + b"y" * 70_000 + b'"}'

    assert decode_request(good, _read).items == []
    assert f"byte {before}." in _refusal(cut).message


@pytest.mark.parametrize("depth", [10_000, 100_000])
@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("is_closed", [True, False])
def test_deep_nesting_is_refused_and_crashes_nothing(depth, left, right, is_closed):
    deep = left * depth + b"1" + (right * depth + b"}" if is_closed else b"")
    error = _refusal(b'{"items":[],"unread":' + deep)
    assert error.kind is ErrorKind.BAD_JSON
    assert "nested too deeply" in error.message


@pytest.mark.parametrize(
    "body",
    [
        {"items": [{"kind": SECRET}]},
        {"items": SECRET},
        {"items": [SECRET]},
        {"items": [{SECRET: 1}]},
        {"items": [{"kind": "red", "size": SECRET}]},
        {"items": [{"kind": "red", "limits": {SECRET: SECRET}}]},
        {"items": [{"kind": "red", "limits": {SECRET: 1.5}}]},
        SECRET,
    ],
)
def test_a_refusal_never_repeats_what_the_caller_wrote(body):
    error = _refusal(json.dumps(body).encode())
    assert SECRET not in f"{error.message} {error.param} {error.detail}"


@pytest.mark.parametrize("at", range(1, 60))
def test_a_cut_body_never_repeats_what_the_caller_wrote(at):
    body = json.dumps({"note": SECRET * 3, "items": []}).encode()[:at]
    assert SECRET not in _refusal(body).message


def test_a_refusal_ends_where_it_began_for_whoever_logs_it():
    assert _refusal(b'{"items":5}').__cause__ is None


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(body):
    with pytest.raises(GroxyError):
        decode_request(body, _read)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["items", "kind", "size", "names"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"items": _VALUES}))
def test_any_json_is_decoded_or_refused_with_a_path_into_it(value):
    error = _refusal_if_any(json.dumps(value).encode())
    assert error is None or (error.param or "").startswith("items")


_KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _objects_with_their_values(draw) -> tuple[bytes, dict[str, bytes]]:
    """An object written in one of many ways, and each value's own bytes."""
    fields = draw(st.dictionaries(_KEYS, _PLAIN | _TEXTS, max_size=5))
    blanks = st.sampled_from(["", " ", "\n", " \t\r\n"])
    written: dict[str, bytes] = {}
    members = []
    for key, value in fields.items():
        is_ascii, indent = draw(st.booleans()), draw(st.sampled_from([None, 1]))
        text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
        written[key] = text.encode()
        members.append(draw(blanks) + json.dumps(key) + draw(blanks) + ":" + draw(blanks) + text)
    return ("{" + ",".join(members) + draw(blanks) + "}").encode(), written


@given(_objects_with_their_values())
def test_fields_keep_their_values_byte_for_byte(drawn):
    body, written = drawn
    assert {key: bytes(raw) for key, raw in decode_fields(body).items()} == written


@given(_objects_with_their_values())
def test_encoded_fields_decode_to_the_same_fields(drawn):
    fields = decode_fields(drawn[0])
    again = decode_fields(encode(fields))
    assert {key: bytes(raw) for key, raw in again.items()} == {
        key: bytes(raw) for key, raw in fields.items()
    }


def test_fields_may_be_read_from_raw_fields():
    fields: Fields = {"a": Raw(b'{"b":1}')}
    assert bytes(decode_fields(fields["a"])["b"]) == b"1"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"1e999", rb'"\ud800"', b'"\xff"', b"[" * 100_000], ids=str
)
def test_what_cannot_be_decoded_raises_one_of_the_unreadable_kinds(body):
    with pytest.raises(UNREADABLE):
        decode_any(body)


def test_what_a_shallow_decoding_passed_over_may_still_be_unreadable():
    shallow = decode_fields(b'{"a":1e999}')
    with pytest.raises(UNREADABLE):
        decode_any(shallow["a"])


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_integers_of_any_size_survive(number):
    assert encode(decode_any(str(number).encode())) == str(number).encode()
