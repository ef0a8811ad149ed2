"""Lines to readers that are slow, stand still, or are gone."""

import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from groxy.observe import lines
from groxy.observe.lines import Lines

KIB = b"x" * 1023 + b"\n"


def tell(lost):
    return b"lost %d\n" % lost


class Memory(io.BytesIO):
    """A file that remembers its pieces, and when the first came."""

    def __init__(self):
        super().__init__()
        self.pieces: list[bytes] = []
        self.first_at = 0.0

    def write(self, piece, /):
        self.first_at = self.first_at or time.monotonic()
        self.pieces.append(bytes(piece))
        return len(piece)


@pytest.fixture
def pipe():
    """Both ends of a pipe: a number to read from, and a file to write to."""
    read, write = os.pipe()
    with os.fdopen(write, "wb", buffering=0) as file:
        yield read, file
        os.close(read)  # who still writes ends


def read_to_end(number):
    with os.fdopen(number, "rb", closefd=False) as file:
        return file.read()


def test_lines_are_written_in_order_and_whole_ones_as_one_piece():
    file = Memory()
    some = Lines(file, tell)
    sent = [b"%d %s\n" % (number, b"x" * 100) for number in range(100)]
    for line in sent:
        some.add(line)
    some.drain()

    assert b"".join(file.pieces) == b"".join(sent)
    assert all(piece.endswith(b"\n") and len(piece) <= 4096 for piece in file.pieces)
    assert len(file.pieces) < 5


def test_a_line_longer_than_a_piece_is_a_piece_of_its_own():
    file = Memory()
    some = Lines(file, tell)
    sent = [b"short\n", b"y" * 9000 + b"\n", b"short\n"]
    for line in sent:
        some.add(line)
    some.drain()

    assert file.pieces == sent


def test_a_line_that_may_wait_is_written_a_moment_later(monkeypatch):
    monkeypatch.setattr(lines, "_LINGER_S", 0.2)
    file = Memory()
    began = time.monotonic()
    Lines(file, tell).add(b"line\n")
    while not file.first_at:
        time.sleep(0.01)

    assert file.first_at - began >= 0.19


def test_a_line_that_may_not_wait_brings_those_that_may(monkeypatch):
    monkeypatch.setattr(lines, "_LINGER_S", 60)
    file = Memory()
    some = Lines(file, tell)
    some.add(b"may\n")
    some.write(b"may not\n")
    some.drain()

    assert file.pieces == [b"may\nmay not\n"]


def test_a_reader_that_stands_still_delays_nobody_who_logs(pipe):
    _, file = pipe
    some = Lines(file, tell)
    began = time.monotonic()
    for _ in range(3000):
        some.write(KIB)

    assert time.monotonic() - began < 5


def test_lines_that_are_too_many_are_lost_and_counted_where_they_would_stand(pipe):
    read, file = pipe
    some = Lines(file, tell)
    for number in range(3000):
        some.write(b"%4d" % number + KIB[4:])
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_to_end, read)
        while some._lost or some._bytes:
            time.sleep(0.01)
        some.write(b"after\n")
        some.drain()
        file.close()
        got = reading.result(10).splitlines()

    *kept, loss, after = got
    assert [int(line[:4]) for line in kept] == list(range(len(kept)))
    assert 1024 <= len(kept) < 1200
    assert (loss, after) == (b"lost %d" % (3000 - len(kept)), b"after")


def test_who_waits_for_a_reader_that_stands_still_does_so_for_a_moment_only(pipe, monkeypatch):
    monkeypatch.setattr(lines, "_PATIENCE_S", 0.1)
    _, file = pipe
    some = Lines(file, tell)
    for _ in range(200):
        some.write(KIB)
    began = time.monotonic()
    some.drain()

    assert 0.09 < time.monotonic() - began < 5


def test_a_pipe_that_another_process_told_not_to_wait_gets_every_line(pipe):
    read, file = pipe
    os.set_blocking(file.fileno(), False)
    some = Lines(file, tell)
    for _ in range(200):
        some.write(KIB)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_to_end, read)
        some.drain()
        file.close()

        assert reading.result(10) == KIB * 200


def test_lines_of_a_file_that_was_closed_are_lost_and_nothing_else(pipe):
    _, file = pipe
    file.close()
    some = Lines(file, tell)
    some.write(b"line\n")
    some.drain()

    assert some._bytes == 0


def test_a_thread_ends_when_nobody_logs_and_another_one_begins_when_somebody_does(monkeypatch):
    monkeypatch.setattr(lines, "_IDLE_S", 0.05)
    file = Memory()
    some = Lines(file, tell)
    some.write(b"first\n")
    while some._thread is not None:
        time.sleep(0.01)
    some.write(b"second\n")
    some.drain()

    assert file.pieces == [b"first\n", b"second\n"]


def test_a_system_without_threads_for_it_gets_the_lines_later(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    file = Memory()
    some = Lines(file, tell)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        some.add(b"first\n")
    some.add(b"second\n")
    some.drain()

    assert b"".join(file.pieces) == b"first\nsecond\n"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking with threads, which this is
def test_a_forked_process_writes_its_own_lines_and_none_of_its_parents(pipe, monkeypatch):
    monkeypatch.setattr(lines, "_LINGER_S", 0.5)
    read, file = pipe
    some = Lines(file, tell)
    some.add(b"parent\n")
    child = os.fork()
    if child == 0:
        try:
            some.add(b"child\n")
            some.drain()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    some.drain()
    file.close()

    assert sorted(read_to_end(read).splitlines()) == [b"child", b"parent"]
