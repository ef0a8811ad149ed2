import pytest

from groxy.admin.lines import read_lines, shown_json, shown_text
from groxy.core.errors import GroxyError
from groxy.core.terms import Terms
from tests.admin.office import key_of

JSON, TEXT = "application/json", "text/plain"


def items(body, media_type):
    return [(line.number, line.pool, line.item()) for line in read_lines(body, media_type, "super")]


@pytest.mark.parametrize(
    ("line", "item"),
    [
        (b"xai-1", {"token": "xai-1"}),
        (b"xai xai-1", {"upstream": "xai", "token": "xai-1"}),
        (b"xai-1 my name", {"token": "xai-1", "name": "my name"}),
        (b"\topenrouter\tsk-1  a  b ", {"upstream": "openrouter", "token": "sk-1", "name": "a b"}),
        (b"xai", {"token": "xai"}),
    ],
)
def test_a_line_has_an_upstream_a_key_and_a_name(line, item):
    assert items(line, TEXT) == [(1, "super", item)]


def test_lines_keep_their_numbers_where_others_are_passed_over():
    body = b"\xef\xbb\xbf# mine\r\n\r\nxai-1\r\n  # more\nxai-2"

    assert [(number, item["token"]) for number, _, item in items(body, TEXT)] == [
        (3, "xai-1"),
        (5, "xai-2"),
    ]


def test_lists_by_pool_are_numbered_through():
    body = b'{"basic": ["a", {"token": "b"}], "heavy": ["c"]}'

    assert items(body, JSON) == [(1, "basic", "a"), (2, "basic", {"token": "b"}), (3, "heavy", "c")]


@pytest.mark.parametrize(
    ("body", "media_type", "count"),
    [
        (b' ["a", "b"]', "", 2),
        (b'{"basic": ["a"]}', "application/x-www-form-urlencoded", 1),
        (b'["a", "b"]', TEXT, 1),
        (b"a\nb\nc", "", 3),
    ],
)
def test_what_says_nothing_of_its_form_is_known_by_its_beginning(body, media_type, count):
    assert len(read_lines(body, media_type, "heavy")) == count


def test_nesting_without_end_is_refused():
    body = b"[" * 100_000 + b"]" * 100_000

    with pytest.raises(GroxyError):
        items(body, JSON)


async def test_options_that_are_secret_and_others(office):
    (one,) = await office.add(
        "one",
        upstream="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
        options={"dialects": "chat"},
        terms=Terms(tags=("t",), weight=2),
    )

    assert shown_json(one, secrets=True) == {
        "token": key_of("one"),
        "upstream": "openai_compatible",
        "name": "one",
        "pool": "heavy",
        "base_url": "http://127.0.0.1:9/v1",
        "options": {"dialects": "chat"},
        "tags": ("t",),
        "weight": 2,
    }
    assert shown_json(one, secrets=False)["token"] == one.hint
    assert shown_text(one, secrets=True) == f"openai_compatible {key_of('one')} one\n"
