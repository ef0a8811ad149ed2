import csv
import io
import json
import re

import pytest

USER = re.compile(r"usr_[0-9a-f]{24}")


@pytest.fixture
def user(groxy):
    made = groxy("user", "create", "--name", "ada")
    assert made.exit_code == 0, made.output
    found = USER.search(made.output)
    assert found is not None, made.output
    return found[0]


def balance_of(groxy, user):
    return groxy("credit", "balance", user).stdout.strip()


def test_credits_are_given_and_taken(groxy, user):
    given = groxy("credit", "grant", user, "25.50", "--reason", "prepaid")
    taken = groxy("credit", "grant", user, "-30", "--reason", "mistake", "--json")

    assert (given.exit_code, taken.exit_code) == (0, 0), given.output + taken.output
    assert given.stdout == f"25.5 USD for {user}. The balance is 25.5 USD.\n"
    assert json.loads(taken.stdout)["balance"] == "-4.5"
    assert balance_of(groxy, user) == "-4.5"
    assert json.loads(groxy("credit", "balance", user, "--json").stdout) == {
        "user_id": user,
        "balance": "-4.5",
    }


@pytest.mark.parametrize("usd", ["0", "NaN", "1e3", "five", "--5"])
def test_what_is_no_amount_changes_nothing(groxy, user, usd):
    done = groxy("credit", "grant", user, usd, "--reason", "r")

    assert done.exit_code != 0
    assert balance_of(groxy, user) == "0"


def test_a_statement_is_printed_and_written(groxy, user):
    for number in range(3):
        groxy("credit", "grant", user, str(number + 1), "--reason", f"=r{number}")

    lines = json.loads(groxy("credit", "statement", user, "--json").stdout)
    table = groxy("credit", "statement", user).stdout
    written = groxy("credit", "statement", user, "--csv").stdout

    assert sorted(line["amount_usd"] for line in lines) == ["1", "2", "3"]
    assert "=r1" in table
    rows = list(csv.DictReader(io.StringIO(written)))
    assert {row["note"] for row in rows} == {"'=r0", "'=r1", "'=r2"}
    assert (
        json.loads(groxy("credit", "statement", user, "--to", "2020-01-01", "--json").stdout) == []
    )


def test_a_user_that_is_not_there_is_told(groxy, user):
    done = groxy("credit", "grant", "usr_no", "5", "--reason", "r")

    assert "There is no user" in str(done.exception)
