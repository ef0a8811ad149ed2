import io
import json
import logging
import re
import subprocess
import sys
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings, strategies as st

from groxy.observe import lines, logs
from groxy.upstreams._base import Credentials

KEYS = {
    "ours": "sk-grok-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-AbCdE",
    "an operator's": "adm-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-AbCdEf",
    "xAI's": "xai-AbCdEf0123456789GhIjKl",
    "OpenAI's": "sk-proj-AbCdEf0123456789",
    "OpenRouter's": "sk-or-v1-0123456789abcdef0123456789abcdef",
    "a token": "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "a token with signs": "Bearer ab+/cd==ef+/gh==ij",
    "a header": "authorization: bearer   0123456789abcdef",
    "in capitals": "XAI-ABCDEF0123456789",
}
every_key = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)


def secret_part(key: str) -> str:
    """Return what must not be seen of a key: its last twelve characters."""
    return key[-12:]


def text_of(lines) -> str:
    return json.dumps(lines, ensure_ascii=False)


@pytest.fixture
def log(logged):
    """A logger of the JSON log that `logged` reads."""
    assert logged() == []
    return logs.get_logger("test")


# --------------------------------------------------------------------------------- the form


def test_an_event_is_one_line_of_json_with_level_time_and_part(log, logged):
    before = datetime.now(UTC)
    log.info("request", request="req_1", ms=1.25, stream=False, served=None)

    (line,) = logged()
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert line == {
        "event": "request",
        "level": "info",
        "part": "test",
        "request": "req_1",
        "ms": 1.25,
        "stream": False,
        "served": None,
    }
    assert before - timedelta(seconds=1) < at < before + timedelta(seconds=60)


@pytest.mark.parametrize("text", ['a\nb\r\n{"event":"forged"}', '"', "\x1b[31mred", "\0", "größe"])
def test_no_text_breaks_out_of_its_line(log, logged, text):
    log.info("request", model=text)

    assert [line["model"] for line in logged()] == [text]


class Broken:
    def __repr__(self):
        return "<broken \ud800>"


ODD = {
    "half a character": "\ud83d",
    "half a character inside": {"a": ["\ud83d"]},
    "a large number": 10**40,
    "not a number": float("nan"),
    "infinity": float("inf"),
    "bytes": b"\xff\x00",
    "a set": {1, "a"},
    "odd keys": {(1, 2): 3, None: 4},
    "an object": object(),
    "an exception": ValueError("why"),
    "an object with an odd name": Broken(),
    "a function": len,
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_whatever_is_logged_there_is_a_line(log, logged, value):
    log.info("odd", value=value, other="kept")

    (line,) = logged()
    assert (line["event"], line["other"]) == ("odd", "kept")
    assert "value" in line


def test_a_traceback_is_in_its_line(log, logged):
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("crashed")

    (line,) = logged()
    assert line["level"] == "error"
    assert "ZeroDivisionError" in line["exception"]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_only_what_is_serious_enough_is_written(level):
    written = io.BytesIO()
    stderr = io.TextIOWrapper(written)
    with redirect_stderr(stderr):
        logs.configure(level=level, form="json")
    try:
        log = logs.get_logger("test")
        for method in (log.debug, log.info, log.warning, log.error):
            method("event")
        logs.flush()
    finally:
        structlog.reset_defaults()

    found = [json.loads(line)["level"] for line in written.getvalue().splitlines()]
    names = ["debug", "info", "warning", "error"]
    assert found == names[names.index(level) :]


def test_a_level_that_does_not_exist_is_an_error():
    with pytest.raises(KeyError):
        logs.configure(level="loud", form="json")


def console(log_something) -> str:
    written = io.BytesIO()
    stderr = io.TextIOWrapper(written, write_through=True)
    with redirect_stderr(stderr):
        logs.configure(level="info", form="console")
    try:
        log_something(logs.get_logger("test"))
        logs.flush()
    finally:
        structlog.reset_defaults()
    return written.getvalue().decode()


def test_the_console_form_is_for_people():
    text = console(lambda log: log.info("request", model="grok-4.3"))

    assert "request" in text
    assert "grok-4.3" in text
    assert not text.startswith("{")


def test_a_model_that_a_caller_made_up_cannot_paint_the_console_or_forge_a_line():
    text = console(lambda log: log.info("request", model="a\n\x1b[2Jforged"))

    assert text.count("\n") == 1
    assert "\x1b[2J" not in text


# ------------------------------------------------------------------------------------- secrets


@every_key
def test_a_key_in_a_text_is_masked_and_the_rest_is_kept(log, logged, key):
    log.info("failed", detail=f"said: no such key {key}, sorry")

    (line,) = logged()
    assert secret_part(key) not in text_of(line)
    assert line["detail"].startswith("said: no such key ")
    assert line["detail"].endswith("*****, sorry")


@every_key
def test_a_key_in_the_event_itself_is_masked(log, logged, key):
    event = f"no such key {key}"
    log.warning(event)

    assert secret_part(key) not in text_of(logged())


@every_key
@pytest.mark.parametrize(
    "wrap",
    [
        lambda key: {"a": {"b": key}},
        lambda key: {key: "as a name"},
        lambda key: [1, [key]],
        lambda key: (key,),
        lambda key: {key},
        lambda key: ValueError(f"bad key {key}"),
        lambda key: key.encode(),
        lambda key: {"exception": ValueError(key)},
        lambda key: [{"headers": [(b"authorization", key.encode())]}],
    ],
    ids=[
        *("in a dict", "a dict's name", "in a list", "in a tuple", "in a set"),
        *("in an exception", "bytes", "deep inside", "headers"),
    ],
)
def test_a_key_is_masked_wherever_it_is(log, logged, key, wrap):
    log.info("failed", detail=wrap(key))

    assert secret_part(key) not in text_of(logged())


@every_key
def test_a_key_in_a_traceback_is_masked(log, logged, key):
    try:
        raise ValueError(f"bad key {key}")
    except ValueError:
        log.exception("crashed")

    (line,) = logged()
    assert secret_part(key) not in text_of(line)
    assert "bad key" in line["exception"]


@every_key
def test_a_key_is_masked_on_the_console_too(key):
    text = console(lambda log: log.info("failed", detail=key, inside=[key]))

    assert secret_part(key) not in text


@pytest.mark.parametrize(
    "name",
    ["api_key", "app_key", "authorization", "credential", "password", "secret", "x-api-key"],
)
def test_what_is_called_a_secret_is_masked_whatever_it_looks_like(log, logged, name):
    log.info("failed", **{name: "hush hush"})
    log.info("failed", headers={name.title(): "hush hush", "accept": "json"})

    first, second = logged()
    assert first[name] == "*****"
    assert second["headers"] == {name.title(): "*****", "accept": "json"}


def test_an_accounts_credentials_do_not_show():
    credentials = Credentials(api_key="plain-secret-1", options={"gateway": "plain-secret-2"})

    text = console(lambda log: log.info("account", credentials=credentials, all=[credentials]))

    assert "plain-secret" not in text


@pytest.mark.parametrize(
    "text",
    [
        "the task is done",
        "xai",
        "sk-1",
        "grok-4.20-0309-non-reasoning",
        "req_19a1b2c3d4e0123456789abcdef",
        "key_0123456789abcdef01234567",
        "Bearer tokens",
        "mask-and-risk-assessment",
        "an xai account rests",
    ],
)
def test_what_only_looks_a_little_like_a_key_is_kept(log, logged, text):
    log.info("event", detail=text)

    expected = text.replace("Bearer tokens", "*****")
    assert [line["detail"] for line in logged()] == [expected]


any_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(any_value, st.sampled_from(sorted(KEYS.values())))
def test_no_value_whatever_lets_a_key_through(log, logged, value, key):
    log.info("event", value=[value, key, {"inner": key}], detail=f"{value} {key}")

    assert secret_part(key) not in text_of(logged()[-1])


# ------------------------------------------------------------------------- a broken destination


class Full(io.RawIOBase):
    """A disk without space."""

    def writable(self):
        return True

    def write(self, data):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_full_disk_costs_the_line_and_not_the_request(form):
    stderr = io.TextIOWrapper(io.BufferedWriter(Full()))
    with redirect_stderr(stderr):
        logs.configure(level="info", form=form)
    try:
        for _ in range(10_000):
            logs.get_logger("test").info("request")
        logs.flush()
    finally:
        structlog.reset_defaults()
        with pytest.raises(OSError, match="No space"):
            stderr.close()


_WRITES_ON = """
import sys
from groxy.observe import logs
logs.configure(level="info", form="json")
log = logs.get_logger("test")
for _ in range(1000):
    log.info("request", model="m" * 1000)
print("served")
"""


def test_a_reader_that_leaves_costs_the_lines_and_not_the_requests():
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITES_ON],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.close()

    assert process.stdout is not None
    assert process.stdout.read() == b"served\n"
    process.stdout.close()
    process.wait()


def test_a_reader_that_stands_still_delays_neither_requests_nor_the_end():
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITES_ON],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.read() == b"served\n"
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("form", "found"), [("json", '"lines":3,'), ("console", " lines=3 ")])
def test_how_many_lines_were_lost_is_a_line_like_others(monkeypatch, form, found):
    monkeypatch.setattr(lines, "_MOST_BYTES", 10)
    written = io.BytesIO()
    with redirect_stderr(io.TextIOWrapper(written)) as stderr:
        logs.configure(level="info", form=form)
    try:
        with logs._lines._lock:  # type: ignore[union-attr]
            for _ in range(3):
                logs.get_logger("test").info("too long for it")
            monkeypatch.undo()
        logs.flush()
    finally:
        structlog.reset_defaults()

    text = re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue().decode())
    assert found in text
    assert text.count("\n") == 1
    stderr.close()


def test_to_configure_again_keeps_the_order_of_lines():
    written = io.BytesIO()
    with redirect_stderr(io.TextIOWrapper(written)) as stderr:
        logs.configure(level="info", form="json")
        logs.log_request(line_of(1))
        logs.configure(level="warning", form="json")
        logs.get_logger("test").warning("later")
    logs.flush()
    structlog.reset_defaults()

    assert [json.loads(line)["event"] for line in written.getvalue().splitlines()] == [
        "request",
        "later",
    ]
    stderr.close()


def test_the_standard_librarys_logging_is_left_as_it_was():
    before = logging.getLogger().handlers[:], logging.getLogger().level
    console(lambda log: log.info("x"))

    assert (logging.getLogger().handlers, logging.getLogger().level) == before


# --------------------------------------------------------------------------------- requests


def line_of(number: int, **more) -> logs.RequestLine:
    """Return the line of a request whose id is its number."""
    fields: dict[str, Any] = {
        "request": f"req_{number}",
        "key": "key_1",
        "dialect": "chat",
        "stream": False,
        "model": "grok-4.3",
        "served": "grok-4.3",
        "account": "acc_1",
        "attempts": 1,
        "outcome": "ok",
        "input_tokens": 5,
        "output_tokens": 7,
        "ms": 1.25,
    }
    return logs.RequestLine(**fields | more)


def test_a_request_is_one_line_without_keys(logged):
    logs.log_request(line_of(1, model="grok " + KEYS["xAI's"]))

    (line,) = logged()
    assert (line["event"], line["level"], line["part"]) == ("request", "info", "gateway")
    assert (line["request"], line["model"], line["ms"]) == ("req_1", "grok *****", 1.25)


def test_lines_keep_their_order(log, logged):
    logs.log_request(line_of(1))
    log.warning("between", request="req_2")
    logs.log_request(line_of(3))

    assert [line["request"] for line in logged()] == ["req_1", "req_2", "req_3"]


def test_what_waits_at_the_end_is_written():
    code = (
        "import asyncio\nfrom groxy.observe import logs\n"
        "async def main():\n"
        "    logs.configure(level='info', form='json')\n"
        "    logs.log_request(logs.RequestLine(request='req_1', key='', dialect='', stream=False, "
        "model='', served='', account='', attempts=0, outcome='', input_tokens=0, "
        "output_tokens=0, ms=0))\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert json.loads(ended.stderr)["request"] == "req_1"
