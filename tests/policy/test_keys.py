import hashlib

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.keys import ANYONE, Caller, Keyring, KnownKey, presented_key

ALICE = Caller(key_id="key_1", name="alice")


def digest(key):
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


@pytest.fixture
def keyring():
    ring = Keyring(digest)
    ring.replace([KnownKey(digest=digest("sk-alice"), caller=ALICE)])
    return ring


def refused(keyring, authorization=None, x_api_key=None):
    with pytest.raises(GroxyError) as caught:
        keyring.identify(authorization, x_api_key)
    return caught.value


@pytest.mark.parametrize("header", ["Bearer sk-alice", "bearer sk-alice", "BEARER   sk-alice "])
def test_a_key_is_known_by_its_bearer_header(keyring, header):
    assert keyring.identify(header, None) == ALICE


def test_a_key_is_known_by_x_api_key(keyring):
    assert keyring.identify(None, "sk-alice") == ALICE


def test_the_same_key_in_both_headers_is_fine(keyring):
    assert keyring.identify("Bearer sk-alice", "sk-alice") == ALICE


def test_two_different_keys_are_refused_even_if_one_is_right(keyring):
    assert "different keys" in refused(keyring, "Bearer sk-alice", "sk-other").message


def test_another_scheme_leaves_the_other_header_in_force(keyring):
    assert keyring.identify("Basic dXNlcjpw", "sk-alice") == ALICE


def test_no_key_is_told_how_to_send_one(keyring):
    assert "Authorization: Bearer" in refused(keyring).message


@pytest.mark.parametrize(
    "key",
    [
        "sk-Alice",
        "sk-alic",
        "sk-alicex",
        "' OR '1'='1",
        "sk-alice\x00",
        "k" * 100_000,
        "ключ",
        "\udce9",
        "*",
    ],
)
def test_a_wrong_key_is_refused_and_not_repeated(keyring, key):
    error = refused(keyring, f"Bearer {key}")

    assert error.kind is ErrorKind.BAD_KEY
    assert key not in error.message


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "sk-alice"])
def test_an_empty_bearer_is_no_key(keyring, header):
    assert refused(keyring, header).kind is ErrorKind.BAD_KEY


def test_keys_that_were_replaced_are_out_of_force(keyring):
    keyring.replace([])

    assert refused(keyring, "Bearer sk-alice").kind is ErrorKind.BAD_KEY


def test_open_mode_takes_anything_and_nothing():
    ring = Keyring(digest, is_open=True)

    assert ring.identify(None, None) == ANYONE
    assert ring.identify("Bearer x", "y") == ANYONE


def test_a_key_is_presented_without_spaces_around_it():
    assert presented_key(None, "  sk-a ") == "sk-a"
