import pytest

from groxy.admin.access import Operator
from groxy.admin.audit import MASK, Auditor, without_secrets
from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.database import Database
from tests.admin.window import opened
from tests.routing.fleet import account

ACTOR = Operator(key_id="key_1", name="ops", request_id="req_1")
KEY = "xai-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path, account()) as it:
        yield it


async def test_an_act_is_in_the_store_and_in_the_log(window, logged):
    auditor = Auditor(window.desk.database)

    await auditor.note(ACTOR, "account.pool", "acc_1", before={"pool": "basic"}, after={"n": 1})

    (line,) = await window.audit()
    assert (line.actor, line.action, line.target) == ("ops (key_1)", "account.pool", "acc_1")
    assert (line.before, line.after, line.request_id) == ({"pool": "basic"}, {"n": 1}, "req_1")
    told = [entry for entry in logged() if entry["event"] == "operator acted"]
    assert [(entry["action"], entry["request"]) for entry in told] == [("account.pool", "req_1")]


async def test_an_act_that_cannot_be_stored_is_logged_and_raises(tmp_path, logged):
    closed = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    async with closed.transaction() as connection:
        await connection.exec_driver_sql("DROP TABLE audit")

    with pytest.raises(GroxyError) as caught:
        await Auditor(closed).note(ACTOR, "account.reveal", "acc_1")

    await closed.close()
    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert [line["action"] for line in logged() if "action" in line] == ["account.reveal"]


@pytest.mark.parametrize(
    "name",
    [
        *("token", "tokens", "api_key", "app.api_key", "apiKey", "x-api-key", "old_token"),
        *("password", "secret", "Authorization", "cookie", "credentials", "accounts.secret_key"),
    ],
)
def test_a_text_under_the_name_of_a_secret_is_masked(name):
    assert without_secrets({name: "hunter2 is a password"}) == {name: MASK}
    assert without_secrets({name: ["hunter2 is a password"]}) == {name: [MASK]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokens", 12),
        ("token", "xai-AAAA...AAAAAAAA"),
        ("app.api_key", ["sk-g…cess"]),
        ("token", ""),
        ("key_id", "key_1"),
        ("max_tokens", 5),
        ("pool", "basic"),
        ("monkey", "business"),
        ("accounts", ["acc_1"]),
    ],
)
def test_what_is_no_secret_is_left_as_it_is(name, value):
    assert without_secrets({name: value}) == {name: value}


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"the key {KEY} is wrong",
        "sk-or-v1-0123456789abcdef0123456789abcdef",
        "Bearer abcdefghijkl",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_what_looks_like_a_key_is_masked_under_any_name(text):
    shown = without_secrets({"note": [text], "target": text})

    assert MASK in shown["target"]
    assert text[10:30] not in repr(shown)


def test_an_address_keeps_its_host_and_loses_its_password():
    shown = without_secrets("socks5://user:pass@proxy.example:1080")

    assert shown == f"socks5://{MASK}@proxy.example:1080"


def test_long_lists_texts_and_deep_values_are_cut_and_say_so():
    deep: object = "end"
    for _ in range(20):
        deep = [deep]

    many = without_secrets([str(number) for number in range(250)])
    wide = without_secrets({str(number): number for number in range(250)})

    assert many[:2] == ["0", "1"]
    assert (len(many), many[-1]) == (101, "… and 150 more")
    assert (len(wide), wide["…"]) == (101, "and 150 more")
    assert len(without_secrets("y" * 5000)) == 1001
    assert repr(without_secrets(deep)).count("[") == 8


async def test_acts_are_shown_newest_first_page_by_page(window):
    auditor = Auditor(window.desk.database)
    for number in range(5):
        await auditor.note(ACTOR, "account.pool", f"acc_{number}", after={"number": number})

    first = (await window.get("/audit", "limit=2")).json
    second = (await window.get("/audit", f"limit=2&before={first['next']}")).json
    third = (await window.get("/audit", f"limit=2&before={second['next']}")).json

    pages = [[act["target"] for act in page["audit"]] for page in (first, second, third)]
    assert pages == [["acc_4", "acc_3"], ["acc_2", "acc_1"], ["acc_0"]]
    assert [page["has_more"] for page in (first, second, third)] == [True, True, False]
    assert third["next"] is None
    act = first["audit"][0]
    assert (act["actor"], act["after"], act["request_id"]) == (
        "ops (key_1)",
        {"number": 4},
        "req_1",
    )
    assert act["at"] > 1_700_000_000_000


async def test_acts_are_found_by_what_was_done_and_to_what(window):
    auditor = Auditor(window.desk.database)
    await auditor.note(ACTOR, "account.add", "acc_1")
    await auditor.note(ACTOR, "account.pool", "acc_1")
    await auditor.note(ACTOR, "account.pool", "acc_2")

    async def found(query):
        return [
            (act["action"], act["target"])
            for act in (await window.get("/audit", query)).json["audit"]
        ]

    assert await found("action=account.add") == [("account.add", "acc_1")]
    assert await found("target=acc_2") == [("account.pool", "acc_2")]
    assert await found("action=account.add&target=acc_2") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=500", "limit=x", "before=" + "a" * 65])
async def test_a_page_that_cannot_be_is_refused(window, query):
    answer = await window.get("/audit", query)

    assert (answer.status, answer.error["param"]) == (400, query.split("=")[0])
