import asyncio
import time

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing import enquiries as module
from groxy.routing.enquiries import (
    ask,
    ask_for_credential,
    check,
    delete_file,
    fetch_files,
    fetch_key,
    fetch_models,
)
from groxy.upstreams._base import Credentials
from groxy.wire.json import encode
from tests.routing.fleet import UPSTREAMS, directory_of
from tests.routing.scripted import Reply, Transport, account_at, always, fails, models

BLOCKED = encode({"api_key_blocked": True})


async def error_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    return caught.value


# ------------------------------------------------------------------------------------- asking


async def test_a_question_goes_to_the_accounts_own_address_with_its_own_credential():
    one = account_at(lambda _: models("a"))
    one.credentials = Credentials(api_key="xai-key", base_url="http://127.0.0.1:9001/v1/")

    await fetch_models(one)

    (outgoing,) = one.transport.sent
    assert (outgoing.method, outgoing.url) == ("GET", "http://127.0.0.1:9001/v1/models")
    assert outgoing.headers == {"Authorization": "Bearer xai-key"}
    assert outgoing.body == b""


async def test_an_upstream_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
    one = account_at(Transport(lambda _: models("late"), takes_s=30))
    began = time.monotonic()

    error = await error_of(ask(one, "/models"))

    assert error.kind is ErrorKind.UPSTREAM_TIMEOUT
    assert time.monotonic() - began < 2


async def test_an_upstream_that_falls_silent_in_its_answer_is_given_up_and_closed(monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)

    class Silent(Reply):
        async def read(self, limit):
            await asyncio.sleep(30)
            return b""

    one = account_at(lambda _: Silent(b""))
    error = await error_of(ask(one, "/models"))

    assert error.kind is ErrorKind.UPSTREAM_TIMEOUT
    assert one.transport.replies[0].is_closed


@pytest.mark.parametrize("reply", [models("a"), Reply(b"", 500), Reply(b"nonsense")])
async def test_every_reply_is_closed(reply):
    reply.is_closed = False
    one = account_at(lambda _: reply)
    await asyncio.gather(fetch_models(one), return_exceptions=True)

    assert reply.is_closed


async def test_an_error_is_what_the_upstream_says_it_is():
    one = account_at(lambda _: Reply(b"{}", 429, {"retry-after": "7"}))

    error = await error_of(fetch_models(one))

    assert (error.kind, error.retry_after_s) == (ErrorKind.UPSTREAM_LIMITED, 7)


async def test_an_answer_that_is_too_large_is_not_read(monkeypatch):
    monkeypatch.setattr(module, "_MAX_ANSWER_BYTES", 1000)
    one = account_at(lambda _: models("m" * 2000))

    assert (await error_of(fetch_models(one))).kind is ErrorKind.BAD_REPLY


@pytest.mark.parametrize("status", [201, 301, 302, 400, 404, 500, 503])
async def test_only_a_good_status_is_an_answer(status):
    body = encode({"data": [{"id": "trap"}]})

    assert isinstance(await error_of(fetch_models(account_at(always(body, status)))), GroxyError)


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_nothing_that_is_asked_here_counts_against_the_account(status):
    one = account_at(lambda _: Reply(b"{}", status, {"retry-after": "60"}))
    directory = directory_of(one)
    for _ in range(5):
        await error_of(ask(one, "/models"))

    assert (one.failures, one.rest_until, one.health, directory.unshared) == (0, 0.0, 1.0, {})


# --------------------------------------------------------------------------------------- files


def file_of(number):
    return {"id": f"file-{number}", "filename": f"{number}.txt", "bytes": number}


def pages(*sizes):
    """Return what answers with pages of files, as OpenAI does."""
    firsts = [sum(sizes[:place]) for place in range(len(sizes))]

    def answer(url):
        cursors = {f"after=file-{first - 1}": place for place, first in enumerate(firsts) if first}
        place = next((at for cursor, at in cursors.items() if url.endswith(cursor)), 0)
        numbers = range(firsts[place], firsts[place] + sizes[place])
        page = {"data": [file_of(one) for one in numbers], "has_more": place + 1 < len(sizes)}
        return Reply(encode(page))

    return answer


@pytest.fixture
def keeps_files(monkeypatch):
    """Let a plain server keep files."""
    monkeypatch.setattr(UPSTREAMS["openai_compatible"], "files_path", "/files", raising=False)


@pytest.mark.usefixtures("keeps_files")
async def test_files_of_all_pages_are_listed():
    one = account_at(pages(3, 3, 1))
    files = await fetch_files(one)

    assert [each.id for each in files] == [f"file-{number}" for number in range(7)]
    assert len(one.transport.sent) == 3


@pytest.mark.usefixtures("keeps_files")
async def test_a_list_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "_MAX_FILES", 50)
    numbers = iter(range(10**6))

    def answer(_):
        page = [file_of(next(numbers)) for _ in range(20)]
        return Reply(encode({"data": page, "has_more": True}))

    one = account_at(answer)
    await fetch_files(one)

    assert len(one.transport.sent) == 3


@pytest.mark.usefixtures("keeps_files")
async def test_an_upstream_that_gives_the_same_page_again_and_again_is_not_asked_for_ever():
    page = encode({"data": [file_of(1)], "has_more": True})
    one = account_at(always(page))
    await fetch_files(one)

    assert len(one.transport.sent) == 2


@pytest.mark.usefixtures("keeps_files")
@pytest.mark.parametrize("status", [200, 204])
async def test_one_file_is_deleted_whatever_its_name_is(status):
    one = account_at(always(b"", status))
    await delete_file(one, "../a b?c")

    (outgoing,) = one.transport.sent
    assert outgoing.method == "DELETE"
    assert outgoing.url.endswith("/files/..%2Fa%20b%3Fc")


# ------------------------------------------------------------------------------------ checking


@pytest.mark.parametrize("upstream", ["xai", "openai_compatible"])
async def test_an_account_that_works_is_ok(upstream):
    body = encode({"api_key_blocked": False, "data": []})
    one = account_at(always(body), upstream=upstream)

    assert await check(one) == "ok"
    assert one.transport.sent[0].url.endswith(one.upstream.check_path)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (always(status=401), "upstream_auth_failed"),
        (always(status=503), "upstream_unavailable"),
        (fails, "upstream_unavailable: refused"),
        (always(BLOCKED), "upstream_auth_failed"),
    ],
)
async def test_an_account_that_does_not_work_says_why(answer, verdict):
    told = await check(account_at(answer, upstream="xai"))

    assert told.startswith(verdict)
    assert "xai-key" not in told


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (always(status=401), ErrorKind.UPSTREAM_AUTH),
        (always(BLOCKED), ErrorKind.UPSTREAM_AUTH),
        (always(encode({"api_key_blocked": False})), None),
    ],
)
async def test_what_is_wrong_with_a_credential_is_told_from_a_credential_that_is_good(
    answer, wrong
):
    assert await ask_for_credential(account_at(answer, upstream="xai")) is wrong


@pytest.mark.parametrize("answer", [always(status=500), always(status=429), fails])
async def test_an_upstream_that_does_not_say_proves_nothing(answer):
    error = await error_of(ask_for_credential(account_at(answer, upstream="xai")))

    assert error.kind not in (ErrorKind.UPSTREAM_AUTH, ErrorKind.UPSTREAM_QUOTA)


async def test_what_a_key_may_do_is_read():
    body = encode({"acls": ["api-key:model:grok-4.3", "api-key:endpoint:*"]})
    facts = await fetch_key(account_at(always(body), upstream="xai"))

    assert facts.models == frozenset({"grok-4.3"})
