"""Vectors, hashed and from the real model."""

import importlib
import logging
import sys
import time
from math import isclose, sqrt
from types import ModuleType

import pytest
from hypothesis import given, strategies as st

from groxy.upstreams.sandbox import vectors
from groxy.upstreams.sandbox.vectors import HashedVectors, ModelVectors, best_embedder

_HASHED = HashedVectors()


def _nearness(one, other, embedder=_HASHED):
    size = embedder.dimensions
    pairs = zip(embedder.vector(one, size), embedder.vector(other, size), strict=True)
    return sum(a * b for a, b in pairs)


def test_the_same_text_has_the_same_vector():
    assert _HASHED.vector("Hello there", 384) == _HASHED.vector("Hello there", 384)
    assert isclose(_nearness("Hello there", "Hello there"), 1)


def test_similar_texts_are_nearer_than_others():
    cat = "The cat sat on the mat."
    assert _nearness(cat, "The cats are sitting on their mats") > 0.25
    assert abs(_nearness(cat, "Shares dropped in early trading")) < 0.2
    assert _nearness(cat, "THE CAT SAT, on the mat!") > 0.99


def test_what_is_in_every_text_weighs_less():
    assert _nearness("the umbrella", "an umbrella") > _nearness("the umbrella", "the tortoise")


def test_other_scripts_have_their_words_too():
    assert _nearness("猫が好き", "猫が好きです") > abs(_nearness("猫が好き", "天気がいい"))


@given(st.text(max_size=80), st.integers(1, 600))
def test_every_vector_has_its_size_and_length_one(text, dimensions):
    vector = _HASHED.vector(text, dimensions)
    assert len(vector) == dimensions
    assert isclose(sqrt(sum(number * number for number in vector)), 1)


def test_texts_of_signs_alone_are_told_apart():
    assert _HASHED.vector("!!", 384) != _HASHED.vector("??", 384)


@pytest.mark.parametrize("text", ["a" * 100_000, "ab cd " * 16_000, "猫" * 100_000, "!" * 100_000])
def test_a_long_text_is_quick(text):
    started = time.perf_counter()
    _HASHED.vector(text, 4096)
    assert time.perf_counter() - started < 2


class _Row(list[float]):
    def tolist(self):
        return list(self)


class _WordLlama:
    """Stands in for the real package's model."""

    loads = 0

    def __init__(self):
        self.texts = []

    @classmethod
    def load(cls, *, cache_dir, disable_download):
        assert disable_download
        assert cache_dir.name == "wordllama"
        cls.loads += 1
        return cls()

    def embed(self, texts):
        assert len(texts) == 1
        self.texts += texts
        text = texts[0]
        return [_Row([float(len(text)), 3.0, 4.0] + [0.0] * 253 if text else [0.0] * 256)]


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package that looks like the real one, which sets up logging when it is imported."""
    folder = tmp_path / "wordllama"
    folder.mkdir()
    lines = ["import logging", "logging.getLogger().setLevel(1)"]
    lines += ["logging.getLogger().addHandler(logging.NullHandler())"]
    (folder / "__init__.py").write_text("\n".join(lines) + "\nWordLlama = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wordllama", raising=False)
    vectors._load_model.cache_clear()
    real = importlib.import_module

    def imported(name: str) -> ModuleType:
        module = real(name)
        module.WordLlama = _WordLlama  # type: ignore[attr-defined]
        return module

    monkeypatch.setattr(vectors, "import_module", imported)
    _WordLlama.loads = 0
    yield
    vectors._load_model.cache_clear()
    sys.modules.pop("wordllama", None)


def test_without_the_package_vectors_are_hashed(monkeypatch):
    monkeypatch.setattr(vectors, "find_spec", lambda name: None)
    assert best_embedder().name == "sandbox-hashed"
    assert best_embedder().note == "deterministic vectors, not a model"


def test_with_the_package_they_come_from_it_and_nothing_is_loaded_before(package):
    embedder = best_embedder()
    assert isinstance(embedder, ModelVectors)
    assert "wordllama" not in sys.modules
    assert _WordLlama.loads == 0
    embedder.vector("a", 256)
    embedder.vector("b", 256)
    assert _WordLlama.loads == 1


def test_the_packages_way_to_log_is_not_ours(package):
    root = logging.getLogger()
    before = list(root.handlers), root.level
    ModelVectors().vector("a", 256)
    assert (list(root.handlers), root.level) == before


def test_the_models_vectors_are_cut_and_have_length_one(package):
    assert ModelVectors().vector("", 256)[:2] == [1.0, 0.0]
    assert len(ModelVectors().vector("abc", 256)) == 256
    short = ModelVectors().vector("abc", 2)
    assert isclose(short[0], 1 / sqrt(2))
    assert isclose(short[1], 1 / sqrt(2))


def test_the_model_reads_the_beginning_of_a_long_text(package):
    long = "x" * 30_000
    assert ModelVectors().vector(long, 3) == ModelVectors().vector(long[:20_000], 3)
