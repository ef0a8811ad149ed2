import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.sessions import presented_session, refuse_other_sites


def scope(*headers, method="GET"):
    given = [("host", "groxy.example:8000"), *headers]
    return {
        "method": method,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given],
    }


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([], None),
        ([("authorization", "Bearer ses_a")], "ses_a"),
        ([("authorization", "bearer  ses_a ")], "ses_a"),
        ([("x-api-key", "ses_a")], "ses_a"),
        ([("authorization", "Bearer ses_a"), ("x-api-key", "ses_a")], "ses_a"),
        ([("authorization", "Basic c2VzX2E=")], None),
        ([("authorization", "Bearer sk-grok-a")], None),
        ([("cookie", "groxy_session=ses_a")], "ses_a"),
        ([("cookie", 'a=b; groxy_session="ses_a"; c')], "ses_a"),
        ([("cookie", "a=b"), ("cookie", "groxy_session=ses_a")], "ses_a"),
        ([("cookie", "groxy_session=")], None),
        ([("cookie", "xgroxy_session=ses_a; Groxy_Session=ses_b")], None),
        ([("cookie", "groxy_session=ses_a"), ("authorization", "Bearer sk-b")], None),
        ([("cookie", "groxy_session=ses_a"), ("authorization", "Bearer ses_b")], "ses_b"),
    ],
)
def test_a_session_is_found_where_it_may_be(headers, token):
    assert presented_session(scope(*headers)) == token


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Bearer ses_a"), ("x-api-key", "ses_b")],
        [("authorization", "Bearer ses_a"), ("authorization", "Bearer ses_b")],
        [("cookie", "groxy_session=ses_a; groxy_session=ses_b")],
        [("cookie", "groxy_session=ses_a"), ("cookie", "groxy_session=ses_b")],
    ],
)
def test_two_different_ones_are_refused(headers):
    with pytest.raises(GroxyError) as caught:
        presented_session(scope(*headers))

    assert caught.value.kind is ErrorKind.BAD_KEY


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT", "OPTIONS", "get"])
def test_a_cookie_alone_changes_nothing(method):
    with pytest.raises(GroxyError) as caught:
        presented_session(scope(("cookie", "groxy_session=ses_a"), method=method))

    assert (caught.value.kind, caught.value.code) == (ErrorKind.FORBIDDEN, "csrf_refused")


def test_a_token_in_a_header_needs_nothing_else():
    sent = scope(("authorization", "Bearer ses_a"), ("origin", "http://evil"), method="POST")

    assert presented_session(sent) == "ses_a"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-groxy-csrf", "1"),
        ("origin", "http://groxy.example:8000"),
        ("origin", "HTTPS://GROXY.example:8000"),
        ("origin", "https://public.example"),
        ("origin", "https://public.example:443"),
        ("referer", "https://public.example/console?next=/"),
    ],
)
def test_our_own_pages_are_known_by_what_they_send(header, value):
    refuse_other_sites(scope((header, value)), "https://public.example/groxy")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-groxy-csrf", "true"),
        ("origin", "http://groxy.example"),
        ("origin", "http://groxy.example:8001"),
        ("origin", "http://evil.groxy.example:8000"),
        ("origin", "null"),
        ("origin", ""),
        ("origin", "file://"),
        ("origin", "http://["),
        ("referer", "https://evil.example/https://public.example/"),
        ("referer", "https://public.example@evil.example/"),
    ],
)
def test_other_sites_are_refused(header, value):
    with pytest.raises(GroxyError):
        refuse_other_sites(scope((header, value)), "https://public.example")


def test_what_a_page_says_of_its_origin_counts_more_than_its_address():
    with pytest.raises(GroxyError):
        refuse_other_sites(
            scope(("origin", "https://evil.example"), ("referer", "http://groxy.example:8000/"))
        )


def test_who_does_not_say_where_they_are_from_may_be_let_through():
    refuse_other_sites(scope(), unknown_is_ours=True)
    with pytest.raises(GroxyError):
        refuse_other_sites(scope())
    with pytest.raises(GroxyError):
        refuse_other_sites(scope(("origin", "http://evil")), unknown_is_ours=True)
