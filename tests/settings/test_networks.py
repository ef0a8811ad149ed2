import pytest

from groxy.settings.networks import read_networks


@pytest.mark.parametrize(
    ("value", "networks"),
    [
        ("", ()),
        ([], ()),
        ("127.0.0.1", ("127.0.0.1/32",)),
        ("10.0.0.0/8, ::1", ("10.0.0.0/8", "::1/128")),
        ('["10.0.0.0/8"]', ("10.0.0.0/8",)),
        (["10.0.0.0/8", "10.0.0.0/255.0.0.0"], ("10.0.0.0/8",)),
    ],
)
def test_networks_are_read_as_people_write_them(value, networks):
    assert read_networks(value) == networks


@pytest.mark.parametrize("value", ["*", "localhost", "10.0.0.1/8", "10.0.0.0/33", "1.2.3", [5], 5])
def test_what_is_no_network_is_refused(value):
    with pytest.raises(ValueError, match=r"network|array"):
        read_networks(value)
