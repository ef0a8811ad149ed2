"""Links begin where the request came to."""

import pytest

from groxy.api.addresses import base_url_of


def scope(host, **more):
    return {"headers": [(b"host", host.encode())], **more}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("groxy.example.com", "http://groxy.example.com"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("a b", ""),
        ('x"><script>', ""),
        ("evil.com/path", ""),
        ("user@host", ""),
        ("", ""),
    ],
)
def test_the_host_is_what_the_request_says_if_it_makes_sense(host, expected):
    assert base_url_of(scope(host)) == expected


def test_scheme_and_root_are_the_servers_word():
    found = base_url_of(scope("a.example", scheme="https", root_path="/groxy/"))
    assert found == "https://a.example/groxy"
    assert base_url_of({"headers": []}) == ""
