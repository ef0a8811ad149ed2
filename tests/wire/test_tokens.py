"""Counting tokens: right, lazy, safe from several threads, and quick on hostile text."""

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies as st

from groxy.core.tokens import TokenCounter
from groxy.wire.tokens import SplintrCounter

counter = SplintrCounter()

_CHANCE = random.Random(7)
_HOSTILE = {
    "one letter": "a" * 1_000_000,
    "blanks": " " * 1_000_000,
    "line ends": "\r\n" * 500_000,
    "one sign": "!" * 1_000_000,
    "digits": "7" * 1_000_000,
    "pairs": "ab" * 500_000,
    "accents": "é" * 1_000_000,
    "ideographs": "猫" * 1_000_000,
    "blanks and line ends": " \n" * 500_000,
    "random letters": "".join(_CHANCE.choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000)),
    "random signs": "".join(chr(_CHANCE.randrange(0x20, 0xD7FF)) for _ in range(1_000_000)),
    "special tokens": "<|endoftext|>" * 80_000,
}


def test_it_is_a_token_counter():
    it: TokenCounter = counter
    assert it.count("Hello world") == 2


def test_no_text_has_no_tokens():
    assert counter.count("") == 0
    assert counter.split("") == []
    assert counter.tokens("") == []


def test_each_token_has_its_id_and_its_bytes():
    tokens = counter.tokens("Hello world Hello")
    assert [held for _, held in tokens] == [b"Hello", b" world", b" Hello"]
    assert len({number for number, _ in tokens}) == 3
    assert counter.tokens("Hello")[0] == tokens[0]


def test_a_special_token_spelled_out_is_plain_text():
    assert counter.count("<|endoftext|>") == 7


def test_half_a_surrogate_pair_is_counted():
    assert counter.count("a\ud800b") >= 1
    assert counter.split("a\ud800b")
    assert counter.tokens("a\ud800b")


@given(st.text(max_size=300))
def test_the_bytes_of_all_tokens_make_the_text(text):
    tokens = counter.tokens(text)
    assert len(tokens) == counter.count(text)
    assert b"".join(held for _, held in tokens).decode() == text


@given(st.text(max_size=300))
def test_the_pieces_make_the_text_and_are_as_many_as_counted(text):
    pieces = counter.split(text)
    assert len(pieces) == counter.count(text)
    assert "".join(pieces) == text


def test_a_long_text_splits_without_loss():
    text = "The cat — 猫 🐈 — sat. " * 2000
    assert "".join(counter.split(text)) == text


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_megabyte_of_hostile_text_is_counted_in_bounded_time(name):
    text = _HOSTILE[name]
    started = time.perf_counter()
    tokens = counter.count(text)
    assert time.perf_counter() - started < 2
    assert 0 < tokens <= 4 * len(text)


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_megabyte_of_hostile_text_is_tokenized_in_bounded_time(name):
    text = _HOSTILE[name]
    started = time.perf_counter()
    tokens = counter.tokens(text)
    assert time.perf_counter() - started < 3
    assert len(tokens) == counter.count(text)


def test_chunks_change_the_count_by_less_than_a_tenth_of_a_per_cent():
    word = "hello world "
    many = 50_000
    assert counter.count(word * many) == pytest.approx(2 * many, rel=0.001)


_FRESH = """
import sys, threading
from groxy.wire.tokens import SplintrCounter
assert "splintr" not in sys.modules, "loaded by the import"
SplintrCounter().count("")
assert "splintr" not in sys.modules, "loaded for no text"
counts = []
threads = [
    threading.Thread(target=lambda: counts.append(SplintrCounter().count("Hello world")))
    for _ in range(16)
]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert counts == [2] * 16, counts
"""


def test_the_vocabulary_is_loaded_by_the_first_count_and_by_any_thread():
    subprocess.run([sys.executable, "-c", _FRESH], check=True, timeout=60)


def test_threads_agree():
    texts = [f"Sentence number {n}, with some words in it. " * 20 for n in range(200)]
    alone = [counter.count(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(counter.count, texts)) == alone


def test_it_can_be_loaded_before_it_is_needed():
    code = "from groxy.wire.tokens import SplintrCounter as C; C().load(); import sys; "
    code += "assert 'splintr' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
