def test_every_setting_is_shown_with_where_it_came_from(groxy, monkeypatch):
    monkeypatch.setenv("GROXY_SERVER__PORT", "9123")

    shown = groxy("doctor")

    assert shown.exit_code == 0
    line = next(line for line in shown.output.splitlines() if "server.port" in line)
    assert "9123" in line
    assert "GROXY_SERVER__PORT" in line
    assert "default" in next(line for line in shown.output.splitlines() if "server.host" in line)


def test_secrets_are_masked(groxy, monkeypatch):
    monkeypatch.setenv("GROXY_APP__API_KEY", "sk-very-secret")

    assert "sk-very-secret" not in groxy("doctor").output


def test_an_account_that_does_not_work_makes_the_doctor_fail(groxy):
    groxy(
        "account",
        "add",
        "far",
        "--upstream",
        "openai_compatible",
        "--base-url",
        "http://127.0.0.1:9",
    )

    shown = groxy("doctor")

    assert shown.exit_code == 1
    assert "upstream_unavailable" in shown.output


def test_the_sandbox_is_fine(groxy):
    shown = groxy("doctor").output

    assert "sandbox" in shown
    assert "ok" in shown
