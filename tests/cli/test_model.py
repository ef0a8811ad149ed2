def test_models_are_listed_with_what_they_send_and_cost(groxy):
    lines = groxy("model", "list").output.splitlines()

    line = next(line for line in lines if line.split()[:1] == ["grok-4.3-high"])
    assert "grok-4.3 (high)" in line
    assert "1.25 / 0.20 / 2.50" in line


def test_models_that_make_no_text_are_left_out(groxy):
    assert "grok-imagine" not in groxy("model", "list").output
