"""Sizes in both forms."""

import pytest

from groxy.core.sizes import (
    KNOWN_FILM_RATIOS,
    KNOWN_FILM_RESOLUTIONS,
    KNOWN_FILM_SIZES,
    KNOWN_RATIOS,
    KNOWN_SIZES,
    film_size_for,
    pixels_of,
    proportion_of,
    read_film_size,
    read_size,
    size_for,
)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ("1024x1024", ("1:1", "1k")),
        ("1792x1024", ("16:9", "1k")),
        ("1024x1792", ("9:16", "1k")),
        ("1536x1024", ("3:2", "1k")),
        ("1024x1536", ("2:3", "1k")),
        ("2048x2048", ("1:1", "2k")),
        (" 1280X720 ", ("16:9", "1k")),
        ("auto", ("", "")),
        ("19.5:9", ("19.5:9", "")),
    ],
)
def test_a_size_of_a_picture_is_read(size, shape):
    assert read_size(size) == shape


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ("1280x720", ("16:9", "720p")),
        ("1920x1080", ("16:9", "1080p")),
        ("480x854", ("9:16", "480p")),
        ("1024x1024", ("1:1", "720p")),
        ("4:3", ("4:3", "")),
        ("auto", ("", "")),
    ],
)
def test_a_size_of_a_film_is_read(size, shape):
    assert read_film_size(size) == shape


@pytest.mark.parametrize("read", [read_size, read_film_size])
@pytest.mark.parametrize("size", ["", "1x1", "1024", "1024x", "huge", "0x0", "1024x1024x1024"])
def test_an_unknown_size_is_an_error_that_lists_the_known_ones(read, size):
    with pytest.raises(ValueError, match=r"1024x1024.*1792x1024|1280x720.*1024x1024"):
        read(size)


def test_a_shape_of_pictures_alone_is_no_film():
    with pytest.raises(ValueError, match="unknown size"):
        read_film_size("19.5:9")


@pytest.mark.parametrize("sizes", [KNOWN_SIZES, KNOWN_FILM_SIZES])
def test_sides_of_known_sizes_are_near_to_the_shape_that_they_mean(sizes):
    read = read_size if sizes is KNOWN_SIZES else read_film_size
    for size in sizes:
        if size != "auto":
            width, height = pixels_of(size)
            assert width % 2 == height % 2 == 0
            assert width / height == pytest.approx(proportion_of(read(size)[0]), rel=0.02)


@pytest.mark.parametrize(
    ("ratio", "resolution", "size"),
    [
        ("1:1", "", "1024x1024"),
        ("1:1", "1k", "1024x1024"),
        ("1:1", "2k", "2048x2048"),
        ("16:9", "1k", "1792x1024"),
        ("16:9", "2k", "2048x1152"),
        ("3:2", "2k", "1536x1024"),
        ("19.5:9", "1k", "2048x1024"),
        ("9:20", "", "1024x2048"),
        ("", "2k", ""),
        ("auto", "", ""),
    ],
)
def test_a_shape_has_the_nearest_size(ratio, resolution, size):
    assert size_for(ratio, resolution) == size


@pytest.mark.parametrize(
    ("ratio", "resolution", "size"),
    [
        ("", "", ""),
        ("auto", "", ""),
        ("", "1080p", "1920x1080"),
        ("16:9", "", "1280x720"),
        ("9:16", "720p", "720x1280"),
        ("1:1", "480p", "480x480"),
    ],
)
def test_a_shape_has_the_nearest_size_of_a_film(ratio, resolution, size):
    assert film_size_for(ratio, resolution) == size


@pytest.mark.parametrize("ratio", [ratio for ratio in KNOWN_RATIOS if ratio != "auto"])
def test_each_shape_has_a_size_that_is_not_far_off(ratio):
    width, height = pixels_of(size_for(ratio, ""))
    assert width / height == pytest.approx(proportion_of(ratio), rel=0.12)


@pytest.mark.parametrize("ratio", KNOWN_FILM_RATIOS)
@pytest.mark.parametrize("resolution", KNOWN_FILM_RESOLUTIONS)
def test_each_shape_and_resolution_of_a_film_has_a_size_of_its_own(ratio, resolution):
    assert read_film_size(film_size_for(ratio, resolution)) == (ratio, resolution)


@pytest.mark.parametrize("ratio", ["", "16", "16:0", "a:b", "-1:1", "0:0"])
def test_what_is_no_shape_has_no_proportion(ratio):
    with pytest.raises(ValueError, match=r"ratio|float|unpack|convert"):
        proportion_of(ratio)
