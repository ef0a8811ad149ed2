"""Ids: what they look like, that they differ, and that those of requests sort by time."""

import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import groxy.app  # noqa: F401 - what a process does when it forks
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


def test_threads_get_ids_of_their_own(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_752_854_522_000_000_000)
    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(lambda: [new_request_id() for _ in range(1000)]) for _ in range(8)]
        ids = [one for part in made for one in part.result()]

    assert len(set(ids)) == 8000


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_a_fork_gets_ids_of_its_own(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_752_854_522_000_000_000)
    new_request_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_request_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        theirs = told.read()

    assert len(theirs) == len(new_request_id())
    assert theirs not in {new_request_id() for _ in range(512)}


def test_a_later_request_id_sorts_behind(monkeypatch):
    ids = []
    for at_ms in (1, 15, 16, 10**9, 1_752_854_522_000, 1_752_854_522_001, 10**13):
        monkeypatch.setattr(time, "time_ns", lambda at_ms=at_ms: at_ms * 1_000_000)
        ids.append(new_request_id())
    assert ids == sorted(ids)


def test_a_request_id_is_as_long_in_a_hundred_years(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 4_900_000_000 * 10**9)
    assert len(new_request_id()) == len("req_") + 27
