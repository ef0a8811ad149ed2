"""Pictures and films as values."""

import pytest

from groxy.core.media import FilmState, FilmStatus, ImageRequest, MadeImages, MediaCall

PICTURE = "data:image/png;base64,AAAA"


def test_words_alone_ask_for_something_new() -> None:
    assert not ImageRequest(model="grok-imagine-image", prompt="A cat.").is_edit


def test_a_picture_beside_the_words_asks_for_a_change() -> None:
    assert ImageRequest(model="m", prompt="Bluer.", images=(PICTURE,)).is_edit


def test_a_mask_without_a_picture_changes_nothing() -> None:
    assert not ImageRequest(model="m", prompt="Bluer.", mask=PICTURE).is_edit


def test_a_request_cannot_change_on_its_way_from_one_upstream_to_the_next() -> None:
    request = ImageRequest(model="m", prompt="A cat.")

    with pytest.raises(AttributeError):
        request.model = "other"  # type: ignore[misc]


def test_no_bill_is_not_a_bill_of_nothing() -> None:
    assert MadeImages(images=()).cost_ticks is None
    assert FilmState(status=FilmStatus.DONE).cost_ticks is None
    assert MadeImages(images=(), cost_ticks=0) != MadeImages(images=())


def test_a_film_that_failed_was_refused_only_where_that_is_said() -> None:
    assert not FilmState(status=FilmStatus.FAILED, error="It failed.").is_refused


def test_a_call_sends_json_and_changed_nothing_unless_it_says_so() -> None:
    call = MediaCall(path="/images/generations")

    assert (call.method, call.content_type, call.adjusted) == ("POST", "application/json", ())


@pytest.mark.parametrize("word", ["pending", "done", "failed"])
def test_how_far_a_film_is_survives_being_written_down(word: str) -> None:
    assert FilmStatus(word).value == word
