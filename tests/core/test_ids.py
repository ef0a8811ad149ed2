"""Ids: what they look like, that they differ, and that those of requests sort by time."""

import re
import time

from groxy.core.ids import new_id, new_request_id


def test_an_id_is_its_prefix_and_24_hex_digits():
    assert re.fullmatch(r"key_[0-9a-f]{24}", new_id("key_"))


def test_ids_differ():
    assert len({new_id("") for _ in range(1000)}) == 1000


def test_a_request_id_is_its_prefix_and_27_hex_digits():
    assert re.fullmatch(r"req_[0-9a-f]{27}", new_request_id())


def test_request_ids_of_one_moment_differ(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_752_854_522_000_000_000)
    assert len({new_request_id() for _ in range(1000)}) == 1000


def test_a_later_request_id_sorts_behind(monkeypatch):
    ids = []
    for at_ms in (1, 15, 16, 10**9, 1_752_854_522_000, 1_752_854_522_001, 10**13):
        monkeypatch.setattr(time, "time_ns", lambda at_ms=at_ms: at_ms * 1_000_000)
        ids.append(new_request_id())
    assert ids == sorted(ids)


def test_a_request_id_is_as_long_in_a_hundred_years(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 4_900_000_000 * 10**9)
    assert len(new_request_id()) == len("req_") + 27
