import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.shapes import FILM_SHAPES, PICTURE_SHAPES


@pytest.mark.parametrize(
    ("shapes", "given", "read"),
    [
        (PICTURE_SHAPES, (None, None, None), ("", "")),
        (PICTURE_SHAPES, ("1792x1024", None, None), ("16:9", "1k")),
        (PICTURE_SHAPES, ("1792x1024", "1:1", "2K"), ("1:1", "2k")),
        (FILM_SHAPES, ("1280x720", None, "480p"), ("16:9", "480p")),
        (FILM_SHAPES, (None, "9:16", None), ("9:16", "")),
    ],
)
def test_what_is_named_outright_counts_more_than_the_size(shapes, given, read):
    assert shapes.read(*given) == read


@pytest.mark.parametrize(
    ("shapes", "given", "param"),
    [
        (PICTURE_SHAPES, ("7x7", None, None), "size"),
        (PICTURE_SHAPES, (None, "7:7", None), "aspect_ratio"),
        (PICTURE_SHAPES, (None, None, "9k"), "resolution"),
        (FILM_SHAPES, (None, "20:9", None), "aspect_ratio"),
        (FILM_SHAPES, (None, None, "2k"), "resolution_name"),
    ],
)
def test_an_unknown_value_names_its_field_and_what_is_known(shapes, given, param):
    with pytest.raises(GroxyError) as caught:
        shapes.read(*given, where="config.")

    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, f"config.{param}")
