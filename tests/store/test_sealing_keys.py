import os
import stat

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.sealing_keys import KEYS_FILE, LOCK_FILE, SealingKeys

WRAPPING = b"w" * 32


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def opened(folder, wrapping=WRAPPING, **more):
    return SealingKeys(folder, wrapping, origin="the data folder's secret.key", **more)


def with_keys(folder, count):
    keys = opened(folder)
    with keys.changing():
        made = [keys.add() for _ in range(count)]
        keys.finish()
    return made


def newest_id(keys):
    return keys.newest.id


def refused(call):
    with pytest.raises(GroxyError) as caught:
        call()
    return caught.value


def test_before_the_first_rotation_there_is_neither_key_nor_file(tmp_path):
    keys = opened(tmp_path)

    assert keys.newest is None
    assert keys.ids == []
    assert keys.find(b"abcd") is None
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_was_made_is_the_newest_here_and_in_the_next_process(tmp_path):
    keys = opened(tmp_path)
    with keys.changing():
        first, second = keys.add(), keys.add()

    assert keys.newest.id == second.id
    later = opened(tmp_path)
    assert later.newest.id == second.id
    assert later.ids == [first.id, second.id]
    nonce = b"n" * 12
    sealed = first.cipher.encrypt(nonce, b"plain", b"")
    assert later.find(first.id).cipher.decrypt(nonce, sealed, b"") == b"plain"


def test_the_file_has_a_line_for_each_key_that_its_owner_alone_may_read(tmp_path):
    first, second = with_keys(tmp_path, 2)

    lines = (tmp_path / KEYS_FILE).read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == [first.name, second.name]
    assert [len(line.split(" ")) for line in lines] == [2, 2]
    assert stat.S_IMODE((tmp_path / KEYS_FILE).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [KEYS_FILE, LOCK_FILE]


def test_the_file_alone_opens_nothing(tmp_path, monkeypatch):
    plain = iter([b"\x01\x02\x03\x04", b"k" * 32, b"n" * 12])
    monkeypatch.setattr("groxy.store.sealing_keys.secrets.token_bytes", lambda _: next(plain))
    with_keys(tmp_path, 1)

    text = (tmp_path / KEYS_FILE).read_text()
    assert text.startswith("01020304 ")
    assert (b"k" * 32).hex() not in text


def test_a_rotation_is_unfinished_until_that_is_written(tmp_path):
    keys = opened(tmp_path)
    with keys.changing():
        keys.add()
        assert opened(tmp_path).is_unfinished
        keys.finish()

    assert not keys.is_unfinished
    assert not opened(tmp_path).is_unfinished


def test_keys_can_be_dropped_but_never_the_newest(tmp_path):
    first, second, third = with_keys(tmp_path, 3)
    keys = opened(tmp_path)
    with keys.changing():
        keys.drop([first.id, third.id])

    assert keys.ids == [second.id, third.id]
    assert opened(tmp_path).find(first.id) is None


def test_one_process_at_a_time_changes_the_keys(tmp_path):
    with opened(tmp_path).changing():
        error = refused(lambda: opened(tmp_path).changing().__enter__())

    assert error.kind is ErrorKind.CONFLICT
    assert "groxy secret rotate" in error.message


def test_who_changes_the_keys_sees_what_others_changed_before(tmp_path):
    keys = opened(tmp_path)
    (other,) = with_keys(tmp_path, 1)

    with keys.changing():
        mine = keys.add()

    assert opened(tmp_path).ids == [other.id, mine.id]


# ------------------------------------------------------------------------------ a running process


def test_a_running_process_seals_with_a_new_key_within_a_second(tmp_path):
    clock = Clock()
    keys = opened(tmp_path, clock=clock)
    (made,) = with_keys(tmp_path, 1)

    clock.now += 0.99
    assert keys.newest is None
    clock.now += 0.02
    assert newest_id(keys) == made.id


def test_a_key_that_is_not_known_yet_is_found_at_once(tmp_path):
    keys = opened(tmp_path, clock=Clock())
    first, second = with_keys(tmp_path, 2)

    assert keys.find(first.id).id == first.id
    assert keys.newest.id == second.id


def test_the_file_is_looked_at_once_a_second_however_much_is_sealed(tmp_path, monkeypatch):
    with_keys(tmp_path, 1)
    clock, looks = Clock(), []
    keys = opened(tmp_path, clock=clock)
    stat_of = os.stat

    def counted(path):
        looks.append(path)
        return stat_of(path)

    monkeypatch.setattr(os, "stat", counted)

    for _ in range(1_000):
        assert keys.newest is not None
    assert looks == []
    for _ in range(5):
        clock.now += 1.0
        assert [keys.newest is not None for _ in range(100)] == [True] * 100
    assert len(looks) == 5


def test_a_file_that_did_not_change_is_not_read_for_ids_that_nobody_has(tmp_path, monkeypatch):
    with_keys(tmp_path, 1)
    keys = opened(tmp_path)
    monkeypatch.setattr(SealingKeys, "_read", lambda self: pytest.fail("read again"))

    assert [keys.find(bytes([0, 0, 0, number])) for number in range(50)] == [None] * 50


@pytest.mark.parametrize("mishap", ["gone", "damaged"])
def test_a_file_that_is_lost_meanwhile_leaves_the_known_keys_to_open_with_and_none_to_seal(
    tmp_path, logged, mishap
):
    (made,) = with_keys(tmp_path, 1)
    clock = Clock()
    keys = opened(tmp_path, clock=clock)
    before = (tmp_path / KEYS_FILE).read_bytes()
    if mishap == "gone":
        (tmp_path / KEYS_FILE).unlink()
    else:
        (tmp_path / KEYS_FILE).write_text("what is this\n")

    for _ in range(3):
        clock.now += 1.1
        assert keys.newest is None
    assert keys.find(made.id).id == made.id
    assert [line["file"] for line in logged()] == [KEYS_FILE], "said once"

    (tmp_path / KEYS_FILE).write_bytes(before)
    clock.now += 1.1
    assert keys.newest.id == made.id


# ---------------------------------------------------------------------------------- a bad file


def test_a_file_of_another_installation_is_refused(tmp_path):
    with_keys(tmp_path, 1)

    error = refused(lambda: opened(tmp_path, b"o" * 32))

    assert error.kind is ErrorKind.STORE_DOWN
    assert KEYS_FILE in error.message
    assert "secret.key" in error.message


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"zz\n", b"0102 aa\n", b"01020304 zz\n", b"\xff\xfe\n", b"01020304 aa later\n"],
)
def test_a_file_that_groxy_did_not_write_is_refused_and_kept(tmp_path, content):
    (tmp_path / KEYS_FILE).write_bytes(content)

    error = refused(lambda: opened(tmp_path))

    assert error.kind is ErrorKind.STORE_DOWN
    assert KEYS_FILE in error.message
    assert (tmp_path / KEYS_FILE).read_bytes() == content


def test_a_wrapped_key_with_any_one_digit_changed_is_refused(tmp_path):
    with_keys(tmp_path, 1)
    text = (tmp_path / KEYS_FILE).read_text().rstrip("\n")

    for at, digit in enumerate(text):
        changed = text[:at] + ("0" if digit != "0" else "1") + text[at + 1 :]
        (tmp_path / KEYS_FILE).write_text(changed + "\n")
        assert refused(lambda: opened(tmp_path)).kind is ErrorKind.STORE_DOWN, at


def test_lines_that_changed_places_with_each_others_ids_are_refused(tmp_path):
    with_keys(tmp_path, 2)
    (one, first), (two, second) = (
        line.split(" ") for line in (tmp_path / KEYS_FILE).read_text().splitlines()
    )
    (tmp_path / KEYS_FILE).write_text(f"{one} {second}\n{two} {first}\n")

    assert "line 1" in refused(lambda: opened(tmp_path)).message


def test_a_file_that_may_not_be_read_is_told(tmp_path):
    (tmp_path / KEYS_FILE).mkdir()

    assert "cannot be read" in refused(lambda: opened(tmp_path)).message
