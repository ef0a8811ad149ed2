import pytest

from groxy.routing.model import MediaPrice

PICTURES = MediaPrice(per_image={"1k/low": 4, "1k/medium": 6}, per_second={})
FILM = MediaPrice(per_image={}, per_second={"480p": 5, "720p": 7}, per_input_image=1)
FLAT = MediaPrice(per_image={"any": 2}, per_second={})


@pytest.mark.parametrize(("quality", "price"), [("low", 4), ("medium", 6)])
def test_a_picture_is_priced_by_resolution_and_quality(quality, price):
    assert PICTURES.for_image(resolution="1k", quality=quality) == price


def test_a_picture_that_the_table_does_not_name_costs_its_dearest_row():
    assert PICTURES.for_image(resolution="9k", quality="odd") == 6


def test_a_flat_price_is_for_any_picture():
    assert FLAT.for_image(resolution="9k") == 2


def test_film_is_priced_by_its_resolution():
    assert FILM.for_second(resolution="480p") == 5


def test_what_a_model_does_not_make_has_no_price():
    assert PICTURES.for_second(resolution="480p") is None
    assert FILM.for_image() is None
