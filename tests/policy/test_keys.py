import hmac
import string
import time
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.keys import ANYONE, MAX_KEY_CHARS, Caller, Keyring, KnownKey, presented_key

KEY = "sk-grok-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-AbCdE"
LAPTOP = Caller(key_id="key_1", name="laptop")
PHONE = Caller(key_id="key_2", name="phone")
header_text = st.text(st.characters(max_codepoint=255), max_size=80)


def digest(key: str) -> bytes:
    return hmac.digest(b"pepper", key.encode(errors="surrogateescape"), "sha256")


def known(key: str, caller: Caller) -> KnownKey:
    return KnownKey(digest=digest(key), caller=caller)


def keyring_of(*keys: str) -> Keyring:
    keyring = Keyring(digest)
    keyring.replace(known(key, LAPTOP) for key in keys)
    return keyring


KEYRING = keyring_of(KEY)


def refusal(keyring, authorization=None, x_api_key=None):
    with pytest.raises(GroxyError) as caught:
        keyring.identify(authorization, x_api_key)
    assert caught.value.kind is ErrorKind.BAD_KEY
    return caught.value.message


# --------------------------------------------------------------------------- how a key is sent


@pytest.mark.parametrize(
    ("authorization", "x_api_key"),
    [
        (f"Bearer {KEY}", None),
        (f"bearer {KEY}", None),
        (f"BEARER {KEY}", None),
        (f"Bearer   {KEY}  ", None),
        (None, KEY),
        (None, f"  {KEY} "),
        (f"Bearer {KEY}", KEY),
        (f"Bearer {KEY}", ""),
        ("Bearer ", KEY),
        ("", KEY),
        ("Basic dXNlcjpwdw==", KEY),
        (f"Basic {KEY}", KEY),
    ],
)
def test_a_key_is_known_in_each_header_that_clients_use(authorization, x_api_key):
    assert KEYRING.identify(authorization, x_api_key) is LAPTOP


@pytest.mark.parametrize(
    ("authorization", "x_api_key"),
    [
        (None, None),
        ("", ""),
        ("   ", "   "),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer    ", ""),
        (KEY, None),
        (f"Basic {KEY}", None),
        (f"Token {KEY}", None),
        (f"Bearer{KEY}", None),
        (f"Bearer:{KEY}", None),
    ],
)
def test_without_a_key_the_answer_says_how_to_send_one(authorization, x_api_key):
    message = refusal(KEYRING, authorization, x_api_key)

    assert "Authorization: Bearer" in message
    assert "x-api-key" in message


@pytest.mark.parametrize(
    ("authorization", "x_api_key"),
    [(f"Bearer {KEY}", "sk-other"), ("Bearer sk-other", KEY), (f"Bearer {KEY}", KEY.lower())],
)
def test_two_different_keys_are_refused_although_one_of_them_is_good(authorization, x_api_key):
    assert "different keys" in refusal(KEYRING, authorization, x_api_key)


# ------------------------------------------------------------------------------ what is no key


@pytest.mark.parametrize(
    "key",
    [
        KEY[:-1],
        KEY + "a",
        KEY[1:],
        KEY.lower(),
        KEY.swapcase(),
        f'"{KEY}"',
        f"{KEY},{KEY}",
        f"Bearer {KEY}",
        KEY + "\0",
        "\0" + KEY,
        KEY.replace("A", "\0"),
        "\0",
        "' OR '1'='1",
        "'; DROP TABLE keys; --",
        "*",
        "%",
        "null",
        "ключ".encode().decode("latin-1"),
        "ключ",
        b"\xff\xfe".decode("latin-1"),
        b"\xff\xfe".decode(errors="surrogateescape"),
        "../../secret.key",
        "${jndi:ldap://x}",
    ],
)
def test_whatever_is_not_a_key_in_force_is_refused(key):
    for authorization, x_api_key in ((f"Bearer {key}", None), (None, key)):
        assert "not valid" in refusal(KEYRING, authorization, x_api_key)


@pytest.mark.parametrize("exponent", range(7, 25))
def test_a_key_of_any_length_is_refused_and_the_answer_stays_short(exponent):
    message = refusal(KEYRING, "Bearer " + "k" * 2**exponent)

    assert len(message) < 200


def test_a_key_that_is_too_long_costs_no_digest():
    lengths: list[int] = []

    def noted(key: str) -> bytes:
        lengths.append(len(key))
        return digest(key)

    for length in (MAX_KEY_CHARS, MAX_KEY_CHARS + 1):
        refusal(Keyring(noted), "Bearer " + "k" * length)

    assert lengths == [MAX_KEY_CHARS]


def test_the_longest_key_is_known():
    longest = "k" * MAX_KEY_CHARS

    assert keyring_of(longest).identify(f"Bearer {longest}", None) is LAPTOP


def test_no_answer_repeats_what_was_sent():
    messages = [
        refusal(KEYRING, "Bearer sk-secret-attempt"),
        refusal(KEYRING, f"Bearer {KEY}", "sk-secret-attempt"),
        refusal(KEYRING, "Basic sk-secret-attempt"),
    ]

    assert [text for text in messages if "secret-attempt" in text or KEY in text] == []


@given(header_text | st.none(), header_text | st.none())
def test_no_header_whatever_leads_to_anything_but_bad_key(authorization, x_api_key):
    refusal(KEYRING, authorization, x_api_key)


@given(st.text(string.printable, max_size=40), st.text(string.printable, max_size=40))
def test_one_key_is_presented_or_none_and_never_a_part_of_one(bearer, plain):
    try:
        key = presented_key(f"Bearer {bearer}", plain)
    except GroxyError:
        assert bearer.strip() != plain.strip()
    else:
        assert key in {bearer.strip() or None, plain.strip() or None}


# ---------------------------------------------------------------------------- what is in force


def test_without_any_key_in_force_nobody_is_let_in():
    assert "not valid" in refusal(Keyring(digest), f"Bearer {KEY}")


def test_each_key_is_its_own_caller():
    keyring = Keyring(digest)
    keyring.replace([known("sk-a", LAPTOP), known("sk-b", PHONE)])

    assert keyring.identify("Bearer sk-a", None) is LAPTOP
    assert keyring.identify("Bearer sk-b", None) is PHONE


def test_new_keys_take_the_place_of_all_old_ones():
    keyring = keyring_of("sk-old", "sk-older")
    keyring.replace([known("sk-new", PHONE)])

    assert keyring.identify("Bearer sk-new", None) is PHONE
    assert "not valid" in refusal(keyring, "Bearer sk-old")
    assert "not valid" in refusal(keyring, "Bearer sk-older")


def test_keys_that_cannot_be_read_leave_the_old_ones_in_force():
    keyring = keyring_of(KEY)

    def broken():
        yield known("sk-new", PHONE)
        raise OSError

    with pytest.raises(OSError):
        keyring.replace(broken())

    assert keyring.identify(f"Bearer {KEY}", None) is LAPTOP


def test_a_keyring_holds_no_key():
    assert KEY not in repr(vars(KEYRING))


# ------------------------------------------------------------------ while the database is away


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def confirmed(clock):
    """A keyring with one key of each kind, confirmed now, for a minute."""
    keyring = Keyring(digest, grace_s=60.0, clock=clock)
    keyring.replace(
        [
            KnownKey(digest=digest("sk-stored"), caller=LAPTOP),
            KnownKey(digest=digest("sk-set"), caller=PHONE, is_stored=False),
        ]
    )
    keyring.confirm(clock.now)
    return keyring


def unchecked(keyring, key):
    with pytest.raises(GroxyError) as caught:
        keyring.identify(f"Bearer {key}", None)
    assert caught.value.kind is ErrorKind.STORE_DOWN
    return caught.value


@pytest.mark.parametrize("passed_s", [0, 1, 59, 60])
def test_a_stored_key_works_on_for_the_time_of_grace(confirmed, clock, passed_s):
    clock.now += passed_s

    assert confirmed.identify("Bearer sk-stored", None) is LAPTOP
    assert clock.now <= confirmed.fresh_until


@pytest.mark.parametrize("passed_s", [60.01, 61, 1e9])
def test_after_it_a_stored_key_cannot_be_checked_and_is_not_called_wrong(
    confirmed, clock, passed_s
):
    clock.now += passed_s

    error = unchecked(confirmed, "sk-stored")

    assert error.message == "Keys cannot be checked right now. Try again."
    assert (error.retry_after_s, error.facts.status) == (5, 503)


def test_a_key_that_the_database_does_not_have_works_whatever_becomes_of_it(confirmed, clock):
    clock.now += 1e9

    assert confirmed.identify("Bearer sk-set", None) is PHONE


def test_once_the_keys_are_confirmed_again_stored_ones_work_again(confirmed, clock):
    clock.now += 1_000
    unchecked(confirmed, "sk-stored")
    confirmed.confirm(clock.now)

    assert confirmed.identify("Bearer sk-stored", None) is LAPTOP


def test_new_keys_alone_confirm_nothing(confirmed, clock):
    clock.now += 61
    confirmed.replace([KnownKey(digest=digest("sk-stored"), caller=LAPTOP)])

    unchecked(confirmed, "sk-stored")


def test_a_key_that_nobody_knows_is_wrong_only_as_long_as_the_keys_were_read_just_now(
    confirmed, clock
):
    clock.now += 5
    assert "not valid" in refusal(confirmed, "Bearer sk-new")
    clock.now += 0.01
    unchecked(confirmed, "sk-new")


def test_with_no_grace_at_all_nobody_waits_for_doubt(clock):
    keyring = Keyring(digest, grace_s=0.0, clock=clock)
    keyring.replace([KnownKey(digest=digest("sk-stored"), caller=LAPTOP)])
    clock.now += 0.01

    unchecked(keyring, "sk-stored")
    unchecked(keyring, "sk-new")


@pytest.mark.parametrize("authorization", [None, "Basic x", "Bearer " + "k" * 513])
def test_what_cannot_be_a_key_is_refused_at_any_time(confirmed, clock, authorization):
    clock.now += 1e9

    refusal(confirmed, authorization)


def test_a_keyring_that_was_never_confirmed_has_its_grace_from_the_start(clock):
    keyring = Keyring(digest, grace_s=60.0, clock=clock)
    keyring.replace([KnownKey(digest=digest("sk-stored"), caller=LAPTOP)])
    clock.now += 60
    assert keyring.identify("Bearer sk-stored", None) is LAPTOP
    clock.now += 1
    unchecked(keyring, "sk-stored")


def test_a_keyring_without_a_limit_knows_its_keys_for_ever(clock):
    keyring = Keyring(digest, clock=clock)
    keyring.replace([KnownKey(digest=digest("sk-stored"), caller=LAPTOP)])
    clock.now += 1e9

    assert keyring.identify("Bearer sk-stored", None) is LAPTOP
    assert "not valid" in refusal(keyring, "Bearer sk-new")


# ----------------------------------------------------------------------------------- open mode


@pytest.mark.parametrize(
    ("authorization", "x_api_key"),
    [(None, None), ("Bearer sk-any", None), ("Bearer a", "b"), ("Basic x", "y" * 100_000)],
)
def test_in_open_mode_everybody_is_let_in_as_nobody_in_particular(authorization, x_api_key):
    assert Keyring(digest, is_open=True).identify(authorization, x_api_key) is ANYONE


def test_open_mode_does_not_open_another_keyring():
    Keyring(digest, is_open=True)

    assert "No API key" in refusal(Keyring(digest))


# ------------------------------------------------------------------- what a key's state does to it


class WallClock:
    """The time in nanoseconds; one that can be turned."""

    def __init__(self, ms):
        self.ms = ms

    def __call__(self):
        return self.ms * 1_000_000


def stored(key, caller=LAPTOP, **more):
    return KnownKey(digest=digest(key), caller=caller, **more)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"is_disabled": True}, "owner"),
        ({"is_suspended": True}, "operator disabled"),
        ({"is_suspended": True, "is_disabled": True}, "operator disabled"),
        ({"is_barred": True}, "user"),
        ({"is_disabled": True, "is_barred": True}, "disabled"),
    ],
)
def test_a_key_that_does_not_work_says_why_to_who_has_it_and_to_nobody_else(state, word):
    keyring = Keyring(digest)
    keyring.replace_stored([stored("sk-a", **state)])

    assert word in refusal(keyring, "Bearer sk-a")
    assert word not in refusal(keyring, "Bearer sk-b").replace("not valid", "")


def test_a_key_works_until_it_expires_and_not_a_millisecond_longer():
    clock = WallClock(999)
    keyring = Keyring(digest, wall_clock_ns=clock)
    caller = replace(LAPTOP, expires_ms=1_000)
    keyring.replace_stored([stored("sk-a", caller)])

    assert keyring.identify("Bearer sk-a", None) is caller
    clock.ms = 1_000
    assert "expired" in refusal(keyring, "Bearer sk-a")


def test_both_secrets_of_a_rotated_key_work_until_the_grace_is_over():
    clock = WallClock(999)
    keyring = Keyring(digest, wall_clock_ns=clock)
    rotated = stored("sk-new", previous=digest("sk-old"), previous_until_ms=1_000)
    keyring.replace_stored([rotated])

    assert keyring.identify("Bearer sk-new", None) is LAPTOP
    assert keyring.identify("Bearer sk-old", None) is LAPTOP
    clock.ms = 1_000
    assert keyring.identify("Bearer sk-new", None) is LAPTOP
    assert "rotated" in refusal(keyring, "Bearer sk-old")


def test_a_changed_key_takes_the_place_of_what_it_was_with_all_its_secrets():
    keyring = Keyring(digest)
    before = stored("sk-1", previous=digest("sk-0"), previous_until_ms=2**60)
    keyring.replace_stored([before, stored("sk-b", PHONE)])
    keyring.change([stored("sk-2", previous=digest("sk-1"), previous_until_ms=2**60)])

    assert keyring.identify("Bearer sk-2", None) is LAPTOP
    assert keyring.identify("Bearer sk-1", None) is LAPTOP
    assert keyring.identify("Bearer sk-b", None) is PHONE
    assert "not valid" in refusal(keyring, "Bearer sk-0")


def test_a_key_that_is_gone_works_no_more_with_any_secret():
    keyring = Keyring(digest)
    gone = stored("sk-1", previous=digest("sk-0"), previous_until_ms=2**60)
    keyring.replace_stored([gone, stored("sk-b", PHONE)])
    keyring.change([], [LAPTOP.key_id, "key_unknown"])

    for key in ("sk-0", "sk-1"):
        assert "not valid" in refusal(keyring, f"Bearer {key}")
    assert keyring.identify("Bearer sk-b", None) is PHONE
    assert keyring.named(LAPTOP.key_id) is None
    assert keyring.known(LAPTOP.key_id) is None


def test_keys_of_the_settings_and_of_the_database_leave_each_other_alone():
    keyring = Keyring(digest)
    keyring.replace_lasting([stored("sk-set", PHONE, is_stored=False)])
    keyring.replace_stored([stored("sk-a")])
    keyring.replace_lasting([stored("sk-set-2", PHONE, is_stored=False)])

    assert keyring.identify("Bearer sk-a", None) is LAPTOP
    assert keyring.identify("Bearer sk-set-2", None) is PHONE
    assert "not valid" in refusal(keyring, "Bearer sk-set")
    keyring.replace_stored([])
    assert keyring.identify("Bearer sk-set-2", None) is PHONE
    assert keyring.named(PHONE.key_id) is PHONE


def test_a_key_of_the_settings_works_although_the_database_has_it_disabled():
    keyring = Keyring(digest)
    keyring.replace_lasting([stored("sk-a", PHONE, is_stored=False)])
    keyring.replace_stored([stored("sk-a", is_disabled=True)])

    assert keyring.identify("Bearer sk-a", None) is PHONE


def test_a_key_is_looked_up_as_fast_among_a_hundred_thousand():
    keyring = Keyring(lambda key: key.encode())
    keyring.replace_stored(
        KnownKey(digest=b"sk-%d" % n, caller=Caller(key_id=f"key_{n}", name="n"))
        for n in range(100_000)
    )
    began = time.perf_counter()
    for _ in range(10_000):
        keyring.identify("Bearer sk-99999", None)

    assert time.perf_counter() - began < 1.0
