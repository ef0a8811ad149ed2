import io
import json
import sys

import pytest
import structlog

from groxy.observe.logs import configure, get_logger


class Output(io.TextIOWrapper):
    """Standard error with the bytes below it."""

    def __init__(self):
        self.below = io.BytesIO()
        super().__init__(self.below, write_through=True)


@pytest.fixture
def output(monkeypatch):
    fake = Output()
    monkeypatch.setattr(sys, "stderr", fake)
    configure(level="info", form="json")
    yield fake
    structlog.reset_defaults()


def lines(output):
    return [json.loads(line) for line in output.below.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_part(output):
    get_logger("gateway").info("request", model="grok-4")

    (line,) = lines(output)
    assert line["event"] == "request"
    assert (line["level"], line["part"], line["model"]) == ("info", "gateway", "grok-4")
    assert line["timestamp"].endswith("Z")


def test_less_serious_lines_are_left_out(output):
    get_logger("gateway").debug("noise")

    assert lines(output) == []


@pytest.mark.parametrize(
    "text", ["key sk-grok-abcdefghij", "xai-abcdefghijkl", "Bearer abcdef123456", "adm-abcdefghijk"]
)
def test_what_looks_like_a_key_is_masked(output, text):
    get_logger("x").info("odd", detail=f"said {text} there")

    (line,) = lines(output)
    assert "*****" in line["detail"]
    assert "abcdef" not in line["detail"]


def test_a_named_secret_is_masked_whatever_it_looks_like(output):
    get_logger("x").info("odd", api_key="plain", authorization="plain", password="plain")

    assert "plain" not in output.below.getvalue().decode()


def test_a_new_line_in_a_value_makes_no_new_line_in_the_log(output):
    get_logger("x").info("odd", detail='one\n{"event":"forged"}')

    assert len(lines(output)) == 1


def test_values_that_are_no_json_are_shown_as_text(output):
    get_logger("x").info("odd", value={1, 2}, error=ValueError("why"))

    assert "why" in lines(output)[0]["error"]


def test_the_console_form_is_for_reading(monkeypatch):
    fake = Output()
    monkeypatch.setattr(sys, "stderr", fake)
    configure(level="warning", form="console")
    get_logger("x").warning("careful")
    structlog.reset_defaults()

    assert b"careful" in fake.below.getvalue()
