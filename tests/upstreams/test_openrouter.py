from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.quota import QuotaSource, QuotaWindow
from groxy.dialects._completion_usage import read_usage
from groxy.upstreams._base import Credentials, ErrorReply, KeyFacts, ModelFacts, RateWindow
from groxy.upstreams.openrouter import UPSTREAM
from groxy.wire.json import decode_any, decode_fields, encode

ACCOUNT = Credentials(api_key="k")
NO_EFFORT = frozenset({"reasoning_effort"})


def prepared(facts=None, **values):
    fields = decode_fields(encode(values))
    words = UPSTREAM.prepare(fields, facts or ModelFacts())
    return decode_any(encode(fields)), words


def read(status, body):
    return UPSTREAM.read_error(ErrorReply(status=status, body=encode(body)))


def test_models_are_named_after_their_maker():
    assert UPSTREAM.model_id("grok-4.7", ACCOUNT) == "x-ai/grok-4.7"
    assert UPSTREAM.model_id("x-ai/grok-4.20", ACCOUNT) == "x-ai/grok-4.20"


def test_own_fields_and_effort_pass():
    asked = {
        "provider": {"order": ["xAI"]},
        "models": ["a"],
        "plugins": [{"id": "web"}],
        "reasoning_effort": "low",
        "tools": [{"type": "openrouter:web_search"}],
        "top_k": 1,
    }
    assert prepared(ModelFacts(rejects=NO_EFFORT, efforts=("low",)), **asked) == (asked, [])


def test_effort_that_the_model_lacks_becomes_the_nearest():
    sent, words = prepared(ModelFacts(efforts=("low", "high")), reasoning_effort="none")
    assert sent == {"reasoning_effort": "low"}
    assert words == ["reasoning_effort none sent as low"]


def test_rejected_settings_are_dropped_and_named():
    facts = ModelFacts(rejects=frozenset({"stop", "reasoning_effort"}))
    assert prepared(facts, stop=["x"]) == ({}, ["stop dropped"])


def test_rejected_tools_are_refused():
    with pytest.raises(GroxyError) as raised:
        prepared(ModelFacts(rejects=frozenset({"tools"})), tools=[{"type": "function"}])
    assert raised.value.kind is ErrorKind.UNSUPPORTED


@pytest.mark.parametrize(
    ("search", "plugin"),
    [
        ({}, {"id": "web"}),
        ({"mode": "auto", "max_search_results": 3}, {"id": "web", "max_results": 3}),
        ({"mode": "on", "max_search_results": 30}, {"id": "web", "max_results": 25}),
        (
            {"sources": [{"type": "news", "excluded_websites": ["a.org"], "country": "DE"}]},
            {"id": "web", "exclude_domains": ["a.org"]},
        ),
        (
            {"sources": [{"type": "x", "excluded_x_handles": ["a"]}], "to_date": "2026-01-02"},
            {"id": "web", "x_search": {"excluded_x_handles": ["a"], "to_date": "2026-01-02"}},
        ),
        ({"sources": [{"type": "x"}]}, {"id": "web", "x_search": {}}),
    ],
)
def test_search_becomes_the_web_plugin(search, plugin):
    words = ["search_parameters sent as plugins"]
    assert prepared(search_parameters=search) == ({"plugins": [plugin]}, words)


def test_search_that_is_off_is_dropped():
    assert prepared(search_parameters={"mode": "off"}) == ({}, ["search_parameters dropped"])
    assert prepared(search_parameters=None) == ({}, [])


def test_search_joins_other_plugins_and_leaves_an_own_web_plugin_alone():
    other, own = {"id": "response-healing"}, {"id": "web", "max_results": 1}
    sent, _ = prepared(search_parameters={"mode": "on"}, plugins=[other])
    assert sent == {"plugins": [other, {"id": "web"}]}
    sent, _ = prepared(search_parameters={"mode": "on"}, plugins=[own])
    assert sent == {"plugins": [own]}


def test_search_that_cannot_be_done_or_read_is_refused():
    for search, kind in [
        ({"sources": [{"type": "rss", "links": ["u"]}]}, ErrorKind.UNSUPPORTED),
        ("on", ErrorKind.BAD_REQUEST),
        ({"sources": "web"}, ErrorKind.BAD_REQUEST),
    ]:
        with pytest.raises(GroxyError) as raised:
            prepared(search_parameters=search)
        assert raised.value.kind is kind
        assert (raised.value.param or "").startswith("search_parameters")


@pytest.mark.parametrize("reasons", [True, False])
def test_model_without_efforts_is_switched_to_the_right_variant(reasons):
    facts = ModelFacts(rejects=NO_EFFORT, efforts=(), reasons=reasons)
    assert prepared(facts, n=1) == ({"n": 1, "reasoning": {"enabled": reasons}}, [])
    own = {"reasoning": {"effort": "low"}}
    assert prepared(facts, **own) == (own, [])
    assert prepared(facts, reasoning_effort="none") == ({"reasoning_effort": "none"}, [])


def test_model_with_efforts_is_not_switched():
    facts = ModelFacts(efforts=("low",), reasons=True)
    assert prepared(facts, n=1) == ({"n": 1}, [])
    assert prepared(ModelFacts(efforts=()), n=1) == ({"n": 1}, [])


@pytest.mark.parametrize(
    ("error_type", "kind"),
    [
        ("authentication", ErrorKind.UPSTREAM_AUTH),
        ("payment_required", ErrorKind.UPSTREAM_QUOTA),
        ("provider_overloaded", ErrorKind.UPSTREAM_DOWN),
        ("timeout", ErrorKind.UPSTREAM_TIMEOUT),
        ("context_length_exceeded", ErrorKind.CONTEXT_TOO_LONG),
        ("refusal", ErrorKind.REFUSED),
        ("image_not_found", ErrorKind.BAD_REQUEST),
        ("unmapped", ErrorKind.UPSTREAM_DOWN),
        ("invalid_prompt", ErrorKind.UPSTREAM_DOWN),
    ],
)
def test_type_of_an_error_comes_before_its_status(error_type, kind):
    body = {"error": {"code": 500, "message": "m", "metadata": {"error_type": error_type}}}
    assert read(500, body).kind is kind
    assert read(200, body).kind is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "Key limit exceeded (daily limit)."}, ErrorKind.UPSTREAM_QUOTA),
        ({"message": "no", "metadata": {"flagged_input": "x"}}, ErrorKind.REFUSED),
        ({"message": "no", "metadata": {"raw": '"reasons":'}}, ErrorKind.UPSTREAM_AUTH),
        ({"message": "Request blocked: secrets"}, ErrorKind.REFUSED),
        ({"message": "no"}, ErrorKind.UPSTREAM_AUTH),
    ],
)
def test_403_is_told_apart(error, kind):
    assert read(403, {"error": {"code": 403} | error}).kind is kind


def test_error_inside_a_choice_is_found():
    inner = {"code": 502, "message": "gone", "metadata": {"error_type": "provider_unavailable"}}
    body = {"choices": [{"message": {}}, {"finish_reason": "error", "error": inner}]}
    assert read(200, body).kind is ErrorKind.UPSTREAM_DOWN


def test_choice_that_failed_without_a_word_is_a_broken_stream():
    for more in ({}, {"error": None}):
        body = {"choices": [{"delta": {}, "finish_reason": "error"}]} | more
        assert read(200, body).kind is ErrorKind.STREAM_BROKEN


def test_bare_error_string_is_read_too():
    assert read(400, {"error": "bad"}).message == "bad"


@pytest.mark.parametrize(
    ("more", "ticks"),
    [
        ({"cost": 0.95}, 9_500_000_000),
        (
            {"cost": 0.5, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.5}},
            5 * 10**9,
        ),
        (
            {"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": 2}},
            21 * 10**9,
        ),
        ({"cost": 0.1, "is_byok": True}, None),
        ({"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": 0.1, "is_byok": True, "cost_details": [1]}, None),
        ({"cost": None}, None),
        ({"cost": "NaN"}, None),
        ({}, None),
    ],
)
def test_bill_is_the_charge_and_with_an_own_key_the_makers_too(more, ticks):
    usage = read_usage(
        encode({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2} | more),
        UPSTREAM.usage_rules,
    )
    assert usage is not None
    assert usage.cost_ticks == ticks


def test_reply_from_the_response_cache_is_free():
    assert UPSTREAM.read_headers({"x-openrouter-cache-status": "HIT"}).is_cached
    assert not UPSTREAM.read_headers({"x-openrouter-cache-status": "MISS"}).is_cached


def responses(**values: Any) -> tuple[dict[str, Any], list[str]]:
    fields = decode_fields(encode(values))
    words = UPSTREAM.prepare(fields, ModelFacts(), "responses")
    return decode_any(encode(fields)), words


def test_search_tools_of_responses_become_the_web_plugin():
    tools = [
        {"type": "function", "name": "f"},
        {"type": "web_search", "filters": {"allowed_domains": ["x.ai"]}},
        {"type": "x_search", "allowed_x_handles": ["xai"]},
    ]
    fields, words = responses(tools=tools)
    assert fields["tools"] == tools[:1]
    assert fields["plugins"] == [
        {"id": "web", "include_domains": ["x.ai"], "x_search": {"allowed_x_handles": ["xai"]}}
    ]
    assert words == ["search tools sent as plugins"]


def test_no_tools_are_left_where_all_were_search():
    fields, _ = responses(tools=[{"type": "web_search"}], plugins=[{"id": "moderation"}])
    assert "tools" not in fields
    assert fields["plugins"] == [{"id": "moderation"}, {"id": "web"}]


@pytest.mark.parametrize("tools", [[{"type": "function", "name": "web_search"}], "x_search", [7]])
def test_what_is_no_search_tool_stays(tools):
    assert responses(tools=tools) == ({"tools": tools}, [])


def test_other_dialects_are_left_to_openrouter():
    fields = decode_fields(b'{"stop":["x"]}')
    assert UPSTREAM.prepare(fields, ModelFacts(rejects=frozenset({"stop"})), "messages") == []


def test_turns_of_a_conversation_ask_for_the_same_provider():
    assert UPSTREAM.keep_together({}, "talk", "chat") == {"x-session-id": "talk"}
    own = decode_fields(b'{"session_id":"mine"}')
    assert UPSTREAM.keep_together(own, "talk", "chat") == {}


def test_openrouter_itself_is_no_provider_of_its_own():
    fields = decode_fields(b'{"provider":{"only":["OpenRouter"],"order":["openrouter","xai"]}}')
    assert UPSTREAM.prepare(fields, ModelFacts()) == []
    assert decode_any(fields["provider"]) == {"order": ["xai"]}
    fields = decode_fields(b'{"provider":{"only":["openrouter"]}}')
    UPSTREAM.prepare(fields, ModelFacts())
    assert "provider" not in fields


def key_with(limit: str, remaining: str, reset: str = "null") -> KeyFacts:
    """Numbers as they stand on the wire. The other members: openapi.yaml, GET /key, 2026-08."""
    told = (
        '{"data":{"label":"sk-or-v1-0e6...1c96","limit":%s,"usage":1.5,"usage_daily":0,'
        '"is_free_tier":false,"limit_remaining":%s,"limit_reset":%s,"expires_at":null,'
        '"rate_limit":{"requests":-1,"interval":"10s","note":"deprecated"}}}'
    )
    return UPSTREAM.read_key((told % (limit, remaining, reset)).encode())


def test_a_key_without_a_limit_is_fine():
    assert key_with("null", "null") == KeyFacts()


@pytest.mark.parametrize(
    ("reset", "window_s"),
    [("null", 0), ('"daily"', 86_400), ('"weekly"', 604_800), ('"monthly"', 2_592_000),
     ('"yearly"', 0)],
)  # fmt: skip
def test_what_is_left_of_a_limit_is_told_in_ticks(reset, window_s):
    facts = key_with("100", "74.5", reset)
    assert facts == KeyFacts(
        windows={
            "credits": QuotaWindow(
                remaining=745_000_000_000,
                total=1_000_000_000_000,
                window_s=window_s,
                source=QuotaSource.REAL,
            )
        }
    )


@pytest.mark.parametrize(
    ("remaining", "ticks"),
    [
        ("0.1", 1_000_000_000),
        ("99.0000000001", 990_000_000_001),
        ("0.00000000019", 1),
        ("87.44999999999999", 874_499_999_999),
        ("1e1", 100_000_000_000),
        ("250", 1_000_000_000_000),
    ],
)
def test_dollars_are_exact_and_rounded_down(remaining, ticks):
    assert key_with("100", remaining).windows["credits"].remaining == ticks


@pytest.mark.parametrize(
    "remaining", ["0", "0.0", "-0.25", "0.00000000001", "1e-999999999", "1e-400"]
)
def test_a_limit_that_is_reached_is_no_credit(remaining):
    facts = key_with("100", remaining)
    assert facts.standing is ErrorKind.UPSTREAM_QUOTA
    assert facts.note == "the key's credit limit is reached"
    assert facts.windows["credits"].remaining == 0


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [("1e400", "1"), ("1", "1e400000000"), ("1", "1e99999999999999999999"), ('"NaN"', "1"),
     ('"Infinity"', "1"), ('"many"', "1"), ("true", "1"), ("[]", "1"), ("1e13", "1")],
)  # fmt: skip
def test_numbers_that_are_no_dollars_are_a_bad_reply(limit, remaining):
    with pytest.raises(GroxyError) as raised:
        key_with(limit, remaining)
    assert raised.value.kind is ErrorKind.BAD_REPLY


def test_limits_are_those_of_a_429():
    facts = UPSTREAM.read_limits(
        {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}
    )
    assert facts is not None
    assert facts.requests == RateWindow(limit=20, remaining=0, reset_s=1.0)


def test_key_is_checked_where_it_is_told_of():
    assert UPSTREAM.check_path == UPSTREAM.key_path == "/key"
