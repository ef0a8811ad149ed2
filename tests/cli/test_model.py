def test_models_are_listed_with_what_they_send_and_cost(groxy):
    lines = groxy("model", "list").output.splitlines()

    line = next(line for line in lines if line.split()[:1] == ["grok-4.3-high"])
    assert "grok-4.3 (high)" in line
    assert "1.25 / 0.20 / 2.50" in line


def test_models_of_pictures_and_films_are_listed_too(groxy):
    names = {line.split()[0] for line in groxy("model", "list").output.splitlines() if line.strip()}

    assert {"grok-imagine-image", "grok-imagine-video"} <= names
