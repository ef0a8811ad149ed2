from groxy.ledger.bill import NO_CHARGE, Charge, hold_of, released, sheet_of
from groxy.ledger.journal import Sheet
from groxy.ledger.trail import OK, Trail
from groxy.store.ledger import COSTS, HELD, SALES, Move, moves_of

CHARGE = Charge(ticks=30, user_id="usr_1", spends=["spend:key_1:total"], until_ms=[None])


def trail_with(*costs):
    trail = Trail(request_id="req_1", key_id="key_1", dialect="chat", model_asked="m")
    for ticks in costs:
        attempt = trail.begin_attempt(upstream="xai", account_id="acc_1", model_sent="m")
        attempt.cost_ticks, attempt.outcome = ticks, OK
    return trail


def sheet(trail, charge=CHARGE, *, is_owed=True):
    return sheet_of(trail, charge, outcome=OK, status=200, is_owed=is_owed)


def sides(entries):
    return [(one.id, one.debit, one.credit, one.ticks) for one in entries]


def test_a_request_is_one_charge_and_a_cost_for_each_attempt():
    made = sheet(trail_with(7, 0, 20))

    assert sides(made.entries) == [
        ("req_1.1", COSTS, "upstream:acc_1", 7),
        ("req_1.3", COSTS, "upstream:acc_1", 20),
        ("req_1.0", "user:usr_1", SALES, 30),
    ]
    assert made.moves == [Move("spend:key_1:total", -30, None, "req_1")]
    assert (made.request.charge_ticks, made.request.user_id) == (30, "usr_1")


def test_what_costs_its_caller_nothing_is_no_line():
    made = sheet(trail_with(7), NO_CHARGE)

    assert sides(made.entries) == [("req_1.1", COSTS, "upstream:acc_1", 7)]
    assert (made.moves, made.request.charge_ticks) == ((), 0)


def test_whose_request_it_was_is_known_though_it_was_free():
    made = sheet(trail_with(), Charge(user_id="usr_1"), is_owed=False)

    assert made.request.user_id == "usr_1"
    assert made.entries == []


def test_a_key_of_nobody_pays_from_the_house():
    made = sheet(trail_with(), Charge(ticks=5))

    assert sides(made.entries) == [("req_1.0", "house", SALES, 5)]
    assert moves_of(made.entries) == {}


def test_a_hold_and_its_release_leave_nothing_behind():
    trail = trail_with(20)
    lines, moves = hold_of(trail, CHARGE)
    held = Charge(ticks=12, user_id="usr_1", spends=CHARGE.spends, until_ms=CHARGE.until_ms)

    end = released(sheet(trail, held), trail, CHARGE)

    assert sides(lines) == [("req_1.hold", "user:usr_1", HELD, 30)]
    assert ("req_1.release", HELD, "user:usr_1", 30) in sides(end.entries)
    assert moves_of([*lines, *end.entries]) == {"user:usr_1": -12}
    assert sum(move.ticks for move in (*moves, *end.moves)) == -12


def test_nothing_is_set_aside_for_who_pays_nothing():
    trail = trail_with()
    empty = sheet(trail, NO_CHARGE)

    assert hold_of(trail, NO_CHARGE) == ([], [])
    assert released(empty, trail, NO_CHARGE) is empty
    assert isinstance(empty, Sheet)
