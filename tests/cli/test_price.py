"""`groxy price` list, set and history."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from groxy.cli import price
from groxy.core.errors import ErrorKind, GroxyError
from tests.cli.accounts import PlayedDesk

NO_RATES: dict[str, object] = {
    "input": None,
    "cached": None,
    "output": None,
    "reasoning": None,
    "long": None,
    "per_request": None,
    "per_tool_call": None,
    "image": {},
    "second": {},
    "input_image": None,
}
RATES = NO_RATES | {
    "input": "2",
    "cached": "0.5",
    "output": "6",
    "long": {
        "from_tokens": 200_000,
        "input": "4",
        "cached": "1",
        "output": "12",
        "reasoning": None,
    },
    "per_request": "0",
    "per_tool_call": "0.005",
}
PICTURES = NO_RATES | {"image": {"1k/low": "0.02"}, "second": {"any": "0.05"}, "input_image": "0.1"}


def version(number=1, **changes):
    told = {
        "id": f"price_{number}",
        "model": "grok-4.7",
        "state": "in_force",
        "effective": "2026-12-01T00:00:00.000Z",
        "created": "2026-11-01T00:00:00.000Z",
        "note": "spring",
        "rates": RATES,
    }
    return told | changes


@pytest.fixture
def played(monkeypatch, tmp_path):
    """Run a command at a desk that gives these answers; return the result and the desk."""
    monkeypatch.setenv("GROXY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*arguments, answers=(), stdin=""):
        desk = PlayedDesk(*answers)
        monkeypatch.setattr(price, "at_desk", lambda way, work: asyncio.run(work(desk)))
        return CliRunner().invoke(price.app, list(arguments), input=stdin), desk

    return run


def test_prices_are_listed_with_long_ones_behind_the_plain(played):
    in_force = [
        {"model": "grok-4.7", "version": "catalog", "since": None, "rates": RATES},
        {"model": "painter", "version": "price_1", "since": "2026-11-01", "rates": PICTURES},
    ]

    done, _ = played("list", answers=[{"prices": in_force, "coming": []}])

    assert done.exit_code == 0
    assert "2 / 4" in done.stdout
    assert "6 / 12" in done.stdout
    assert "long from 200,000, 0.005 a tool call" in done.stdout
    assert "image 1k/low 0.02, second any 0.05, input image 0.1" in done.stdout
    assert "Coming" not in done.stdout


def test_what_is_coming_is_listed_too(played):
    done, _ = played("list", answers=[{"prices": [], "coming": [version(state="coming")]}])

    assert "Coming:" in done.stdout
    assert "2026-12-01T00:00:00.000Z" in done.stdout


@pytest.mark.parametrize("command", [("list",), ("history", "grok-4.7")])
def test_what_the_admin_api_answers_can_be_had_as_it_is(played, command):
    answer = {"prices": [], "coming": [], "versions": [version()], "next": None}

    done, _ = played(*command, "--json", answers=[answer])

    shown = json.loads(done.stdout)
    assert shown.items() <= answer.items()


def test_a_history_is_shown_to_its_end(played):
    pages = [
        {"versions": [version(2)], "next": "price_2"},
        {"versions": [version(1, state="past")], "next": None},
    ]

    done, desk = played("history", "x-ai/grok-4.7", answers=pages)

    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["price_2", "price_1"]
    assert [asked.path for asked in desk.asked] == ["/prices/x-ai%2Fgrok-4.7/history"] * 2
    assert [asked.query["before"] for asked in desk.asked] == ["", "price_2"]


def test_a_model_without_versions_says_so(played):
    done, _ = played("history", "grok", answers=[{"versions": [], "next": None}])

    assert "catalog" in done.stdout


def test_a_price_is_sent_as_it_was_written(played):
    options = (
        *("--input", "2.50", "--cached", "0.5", "--output", "1e3", "--reasoning", "7"),
        *("--long", "200000:input=4,output=12"),
        *("--per-request", "0.001", "--per-tool-call", "0.005"),
        *("--image", "1k/low=0.02", "--image", "any=0.07", "--second", "any=0.05"),
        *("--input-image", "0.1", "--effective", "2026-12-01T00:00:00Z", "--note", "spring"),
    )

    done, desk = played("set", "grok-4.7", *options, answers=[{"version": version()}])

    assert done.stdout == "grok-4.7 costs this from 2026-12-01T00:00:00.000Z on (price_1).\n"
    (asked,) = desk.asked
    assert (asked.method, asked.path) == ("POST", "/prices")
    assert asked.body == {
        "model": "grok-4.7",
        "effective": "2026-12-01T00:00:00Z",
        "note": "spring",
        "rates": {
            "input": "2.50",
            "cached": "0.5",
            "output": "1e3",
            "reasoning": "7",
            "long": {"from_tokens": 200_000, "input": "4", "output": "12"},
            "per_request": "0.001",
            "per_tool_call": "0.005",
            "image": {"1k/low": "0.02", "any": "0.07"},
            "second": {"any": "0.05"},
            "input_image": "0.1",
        },
    }


@pytest.mark.parametrize(("options", "long"), [((), "absent"), (("--no-long",), None)])
def test_long_prices_are_only_dropped_when_that_is_said(played, options, long):
    given = ("--input", "1", "--output", "1", *options)

    _, desk = played("set", "grok", *given, answers=[{"version": version()}])

    assert desk.asked[0].body["rates"].get("long", "absent") == long


def test_a_file_can_have_the_rates(played, tmp_path):
    file = tmp_path / "rates.json"
    file.write_text('{"input": "1", "output": "2"}')

    _, desk = played("set", "grok", "--rates", str(file), answers=[{"version": version()}])

    assert desk.asked[0].body == {"model": "grok", "rates": {"input": "1", "output": "2"}}


def test_rates_can_be_read_from_standard_input(played):
    done, desk = played(
        "set", "grok", "--rates", "-", answers=[{"version": version()}], stdin='{"input": "1"}\n'
    )

    assert (done.exit_code, desk.asked[0].body["rates"]) == (0, {"input": "1"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--long", "1:input=1", "--no-long"), "exclude each other"),
        (("--long", "input=1"), "--long takes TOKENS:"),
        (("--long", "1e3:input=1"), "--long takes TOKENS:"),
        (("--long", "-1:input=1"), "--long takes TOKENS:"),
        (("--long", "5:"), "--long takes NAME=USD"),
        (("--rates", "-", "--input", "1"), "not both"),
        (("--rates", "-"), "needs a JSON object"),
        (("--rates", "missing.json"), "cannot be read"),
        (("--image", "0.02"), "--image takes NAME=USD"),
        (("--second", "=0.02"), "--second takes NAME=USD"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(played, options, words):
    done, desk = played("set", "grok", *options, stdin="[1]\n")

    assert isinstance(done.exception, GroxyError)
    assert done.exception.kind is ErrorKind.BAD_REQUEST
    assert words in str(done.exception)
    assert desk.asked == []


def test_a_preview_tells_what_would_have_changed_and_changes_nothing(played):
    told = {
        "model": "grok-4.7",
        "days": 30,
        "requests": 1200,
        "keys": 3,
        "charged_usd": "3",
        "would_charge_usd": "8",
        "difference_usd": "5",
        "plans": [
            {
                "plan": "",
                "users": 2,
                "requests": 1200,
                "charged_usd": "3",
                "would_charge_usd": "8",
                "difference_usd": "5",
            }
        ],
    }

    done, desk = played(
        "set", "grok-4.7", "--input", "1", "--output", "1", "--preview", answers=[told]
    )

    assert "1,200 requests of grok-4.7 by 3 keys" in done.stdout
    assert "Charged 3 USD; it would have been 8 USD (5)." in done.stdout
    assert "(none)" in done.stdout
    assert [asked.path for asked in desk.asked] == ["/prices/preview"]
