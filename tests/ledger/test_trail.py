import time

import pytest

from groxy.core.usage import Usage
from groxy.ledger.trail import OK, Trail
from groxy.store.entries import AttemptEntry, RequestEntry
from groxy.store.tables import attempts, requests

USAGE = Usage(input_tokens=11, cached_tokens=7, output_tokens=13, reasoning_tokens=5)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test turns: `clock.at` in seconds."""

    class Clock:
        at = 1000.0

    monkeypatch.setattr(time, "perf_counter", lambda: Clock.at)
    monkeypatch.setattr(time, "time_ns", lambda: int(Clock.at * 1e9))
    return Clock


def new_trail(**changes):
    began = time.perf_counter()
    given = {"request_id": "req_1", "key_id": "key_1", "dialect": "chat", "began": began}
    return Trail(**{**given, **changes})


def begin(trail, upstream="xai", account_id="acc_1", model_sent="grok-4.3"):
    attempt = trail.begin_attempt(upstream=upstream, account_id=account_id, model_sent=model_sent)
    attempt.began = time.perf_counter()
    return attempt


def end(attempt, clock, outcome=OK, **changes):
    attempt.outcome, attempt.ended = outcome, clock.at
    for name, value in changes.items():
        setattr(attempt, name, value)
    return attempt


def entries(trail, outcome=OK, status=200, is_owed=True):
    return trail.entries(outcome=outcome, status=status, is_owed=is_owed)


def test_a_served_request_is_entered_with_all_that_is_known(clock):
    trail = new_trail()
    trail.is_stream, trail.model_asked = True, "grok-4.3-fast"
    trail.reply_id, trail.finish_reason, trail.upstream_dialect = "resp_1", "stop", "responses"
    trail.app_title, trail.app_url = "My App", "https://app.example/"
    clock.at += 0.25
    attempt = begin(trail)
    clock.at += 0.5
    attempt.first_event, attempt.status = clock.at, 200
    attempt.model_served, attempt.usage = "grok-4.3-0430", USAGE
    attempt.cost_ticks, attempt.cost_source = 99, "upstream"
    clock.at += 1
    end(attempt, clock)
    clock.at += 0.125

    request, lines = entries(trail)

    assert request == RequestEntry(
        id="req_1",
        at_ms=1_000_000,
        key_id="key_1",
        dialect="chat",
        is_stream=True,
        model_asked="grok-4.3-fast",
        model_sent="grok-4.3",
        model_served="grok-4.3-0430",
        account_id="acc_1",
        outcome="ok",
        status=200,
        attempts=1,
        input_tokens=11,
        cached_tokens=7,
        output_tokens=13,
        reasoning_tokens=5,
        usage_estimated=False,
        cost_ticks=99,
        first_event_us=750_000,
        duration_us=1_875_000,
        reply_id="resp_1",
        app_title="My App",
        app_url="https://app.example/",
        finish_reason="stop",
        upstream_dialect="responses",
    )
    assert lines == [
        AttemptEntry(
            request_id="req_1",
            number=1,
            at_ms=1_000_250,
            upstream="xai",
            account_id="acc_1",
            model_sent="grok-4.3",
            model_served="grok-4.3-0430",
            outcome="ok",
            status=200,
            input_tokens=11,
            cached_tokens=7,
            output_tokens=13,
            reasoning_tokens=5,
            usage_estimated=False,
            cost_ticks=99,
            cost_source="upstream",
            first_event_us=500_000,
            duration_us=1_500_000,
        )
    ]


def test_a_request_without_any_attempt_is_entered_too(clock):
    trail = new_trail()
    clock.at += 0.001

    request, lines = entries(trail, outcome="model_not_found", status=400, is_owed=False)

    assert lines == []
    assert (request.outcome, request.status, request.attempts) == ("model_not_found", 400, 0)
    assert (request.model_sent, request.model_served, request.account_id) == ("", "", "")
    assert (request.cost_ticks, request.input_tokens, request.first_event_us) == (0, 0, 0)
    assert (request.reply_id, request.finish_reason, request.upstream_dialect) == ("", "", "")
    assert (request.app_title, request.app_url) == ("", "")
    assert request.duration_us == pytest.approx(1000, abs=1)


def test_attempts_are_numbered_in_their_order(clock):
    trail = new_trail()
    for account_id in ("acc_3", "acc_1", "acc_2"):
        end(begin(trail, account_id=account_id), clock)

    _, lines = entries(trail)

    assert [(line.number, line.account_id) for line in lines] == [
        (1, "acc_3"),
        (2, "acc_1"),
        (3, "acc_2"),
    ]


def test_a_request_owes_the_attempt_that_served_it_and_no_other(clock):
    trail = new_trail()
    end(begin(trail), clock, "upstream_unavailable", usage=USAGE, cost_ticks=70)
    end(begin(trail, account_id="acc_2"), clock, usage=USAGE, cost_ticks=30)

    request, lines = entries(trail)

    assert (request.cost_ticks, request.input_tokens) == (30, 11)
    assert [line.cost_ticks for line in lines] == [70, 30]


def test_a_request_that_failed_owes_nothing_but_its_attempts_say_what_they_cost(clock):
    trail = new_trail()
    end(begin(trail), clock, "upstream_stream_broken", usage=USAGE, cost_ticks=70)

    request, (line,) = entries(trail, "upstream_stream_broken", 502, is_owed=False)

    assert (request.cost_ticks, request.input_tokens, request.output_tokens) == (0, 0, 0)
    assert (line.cost_ticks, line.input_tokens, line.output_tokens) == (70, 11, 13)


def test_the_request_names_the_account_and_the_models_of_the_last_attempt(clock):
    trail = new_trail(model_asked="grok")
    end(begin(trail, account_id="acc_1", model_sent="a"), clock, model_served="a-1")
    end(begin(trail, account_id="acc_2", model_sent="b"), clock, model_served="b-1")

    request, _ = entries(trail)

    assert (request.account_id, request.attempts) == ("acc_2", 2)
    assert (request.model_asked, request.model_sent, request.model_served) == ("grok", "b", "b-1")


def test_what_groxy_counted_itself_is_marked(clock):
    trail = new_trail()
    end(begin(trail), clock, usage=Usage(input_tokens=1, estimated=True))

    request, (line,) = entries(trail)

    assert (request.usage_estimated, line.usage_estimated) == (True, True)


def test_an_attempt_without_any_event_has_no_time_of_its_first(clock):
    trail = new_trail()
    attempt = begin(trail)
    clock.at += 3
    end(attempt, clock, "upstream_timeout")

    request, (line,) = entries(trail)

    assert (request.first_event_us, line.first_event_us) == (0, 0)
    assert line.duration_us == 3_000_000


def test_an_attempt_begins_as_one_that_used_nothing(clock):
    line = end(begin(new_trail()), clock).entry("req_1")

    assert (line.cost_ticks, line.cost_source, line.status) == (0, "none", 0)


@pytest.mark.parametrize("field", ["model_asked", "model_sent", "model_served"])
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("grok-4.3", "grok-4.3"),
        ("größer 模型", "größer 模型"),
        ("a\0b\0", "a�b�"),
        ("a\ud83d 模", "a? 模"),
        ("m" * 256, "m" * 256),
        ("m" * 1_000_000, "m" * 256),
    ],
    ids=["plain", "Unicode", "NUL", "half a character", "just fits", "a million letters"],
)
def test_names_that_others_chose_are_kept_in_a_form_that_every_database_takes(
    clock, field, name, kept
):
    trail = new_trail(model_asked=name)
    end(begin(trail, model_sent=name), clock, model_served=name)

    request, (line,) = entries(trail)

    assert getattr(request, field) == kept
    assert getattr(line, field, kept) == kept


@pytest.mark.parametrize(
    "name", ["reply_id", "app_title", "app_url", "finish_reason", "upstream_dialect"]
)
@pytest.mark.parametrize("text", ["x" * 1_000_000, "模" * 1_000, "\0" * 1_000, "\ud83d" * 1_000])
def test_what_is_said_of_a_request_fits_its_column(name, text):
    trail = new_trail(**{name: text})

    kept = getattr(entries(trail)[0], name)

    assert len(kept) == requests.c[name].type.length
    assert "\0" not in kept
    assert kept.encode()


def test_the_time_of_a_request_is_now_in_unix_milliseconds():
    before = time.time()

    assert before * 1000 - 1 <= new_trail().at_ms <= time.time() * 1000


@pytest.mark.parametrize(("index", "table"), [(0, requests), (1, attempts)])
def test_no_column_of_the_books_is_left_empty(clock, index, table):
    trail = new_trail()
    end(begin(trail), clock)
    request, (line,) = entries(trail)

    values = (request, line)[index]._asdict()

    empty = [name for name, value in values.items() if value is None]
    assert [name for name in empty if not table.c[name].nullable] == []
    assert values.keys() == {column.name for column in table.columns}
