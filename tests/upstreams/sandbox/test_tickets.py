"""Ids that say what they stand for."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._videos import read_video_id
from groxy.upstreams.sandbox.tickets import MOST_CAPTION, MOST_MODEL, Ticket, id_of, ticket_of
from groxy.wire.json import encode


def _ticket(**values):
    usual: dict[str, Any] = {
        "seed": b"0123456789ab",
        "caption": "p",
        "model": "m",
        "width": 64,
        "height": 64,
        "resolution": "1k",
        "content_type": "image/png",
    }
    return Ticket(**(usual | values))


@given(
    st.builds(
        Ticket,
        seed=st.binary(min_size=12, max_size=12),
        caption=st.text(st.characters(codec="utf-8"), max_size=MOST_CAPTION),
        model=st.text(st.characters(codec="utf-8"), max_size=MOST_MODEL),
        width=st.integers(1, 4096),
        height=st.integers(1, 4096),
        resolution=st.sampled_from(["1k", "1080p"]),
        duration_s=st.integers(0, 20),
        content_type=st.sampled_from(["image/jpeg", "image/webp"]),
        is_openai=st.booleans(),
    )
)
def test_a_ticket_comes_back_from_its_id(ticket):
    wanted = id_of(ticket)
    assert ticket_of(wanted) == ticket
    assert read_video_id(encode({"id": wanted})) == wanted


def test_the_form_of_an_id_tells_whose_words_it_has():
    assert id_of(_ticket(is_openai=True)).startswith("video_")
    assert id_of(_ticket()).startswith("sandbox-")


def test_another_number_is_another_id():
    assert id_of(_ticket(number=1)) != id_of(_ticket(number=2))


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "sandbox-",
        "video_",
        "video_abc",
        "sandbox-ééé",
        "sandbox-" + "A" * 5000,
        id_of(_ticket()).removeprefix("sandbox-"),
        id_of(_ticket())[:-4],
        id_of(_ticket(width=100_000)),
        id_of(_ticket(height=0)),
        id_of(_ticket(content_type="image/x")),
        id_of(_ticket(takes_s=float("nan"))),
        id_of(_ticket(takes_s=-1.0)),
        id_of(_ticket(duration_s=-1)),
        id_of(_ticket(duration_s=10_000)),
        id_of(_ticket(caption="x" * 100_000)),
    ],
)
def test_an_id_that_nobody_gave_out_is_not_found(wanted):
    with pytest.raises(GroxyError) as caught:
        ticket_of(wanted)
    assert caught.value.kind is ErrorKind.NOT_FOUND


@given(st.text(max_size=80))
def test_any_text_is_an_id_or_is_not_found(text):
    with pytest.raises(GroxyError):
        ticket_of(f"video_{text}")
