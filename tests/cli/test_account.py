import pytest

from groxy.core.errors import GroxyError

ADDRESS = ("--upstream", "openai_compatible", "--base-url", "http://127.0.0.1:9/v1")


def test_an_added_account_is_listed_without_its_key(groxy, data_dir):
    added = groxy("account", "add", "first", "--upstream", "xai", stdin="xai-secret-key\n")

    assert added.exit_code == 0
    listed = groxy("account", "list").output
    assert "first" in listed
    assert "api.x.ai" in listed
    assert "xai-secret-key" not in listed


def test_the_key_is_sealed_in_the_database(groxy, data_dir):
    groxy("account", "add", "first", stdin="xai-secret-key\n")

    stored = b"".join(path.read_bytes() for path in data_dir.iterdir() if "db" in path.name)
    assert b"first" in stored
    assert b"xai-secret-key" not in stored


def test_the_key_can_come_from_a_file(groxy, tmp_path):
    (tmp_path / "key").write_text("xai-from-file\n")

    assert groxy("account", "add", "filed", "--api-key-file", "key").exit_code == 0


def test_the_key_can_come_from_standard_input(groxy):
    added = groxy("account", "add", "piped", "--api-key-file", "-", stdin="xai-piped\n")

    assert added.exit_code == 0


def test_with_no_account_the_sandbox_is_listed(groxy):
    assert "sandbox" in groxy("account", "list").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x", "--upstream", "nobody"), "no upstream"),
        (("x", "--upstream", "openai_compatible"), "base_url"),
        (("x", *ADDRESS, "--option", "novalue"), "name=value"),
        (("x", *ADDRESS, "--option", "odd=1"), "odd"),
    ],
)
def test_a_bad_account_is_refused_with_what_is_wrong(groxy, arguments, words):
    error = groxy("account", "add", *arguments, stdin="k\n").exception

    assert isinstance(error, GroxyError)
    assert words in error.message


def test_a_name_can_be_taken_only_once(groxy):
    groxy("account", "add", "same", *ADDRESS)

    error = groxy("account", "add", "same", *ADDRESS).exception

    assert isinstance(error, GroxyError)
    assert "'same'" in error.message


def test_a_removed_account_is_gone(groxy):
    groxy("account", "add", "brief", *ADDRESS)

    assert groxy("account", "remove", "brief").exit_code == 0
    assert "brief" not in groxy("account", "list").output


def test_testing_an_account_out_of_reach_fails_with_the_reason(groxy):
    groxy("account", "add", "far", *ADDRESS)

    tested = groxy("account", "test", "far")

    assert tested.exit_code == 1
    assert "upstream_unavailable" in tested.output


def test_testing_an_account_that_works_says_ok(groxy):
    assert groxy("account", "test", "sandbox").output == "sandbox: ok\n"


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        (("two words", *ADDRESS), "k", "The name"),
        (("x", "--upstream", "openai_compatible", "--base-url", "localhost:9"), "k", "--base-url"),
        (("x", *ADDRESS[:2], "--base-url", "http://h:99999/v1"), "k", "--base-url"),
        (("x",), "two words", "The key"),
        (("x",), "k\x07ey", "The key"),
        (("x", "--upstream", "sandbox", "--option", "tokens_per_s=fast"), "", "tokens_per_s"),
    ],
)
def test_what_a_gateway_would_stumble_over_is_refused(groxy, arguments, key, words):
    error = groxy("account", "add", *arguments, stdin=f"{key}\n").exception

    assert isinstance(error, GroxyError)
    assert words in error.message
    assert groxy("account", "list").output.count("sandbox") >= 1, "nothing was stored"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_key_file_that_cannot_be_read_is_told(groxy, tmp_path, content):
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)

    error = groxy("account", "add", "x", *ADDRESS[:4], "--api-key-file", str(file)).exception

    assert isinstance(error, GroxyError)
    assert str(file) in error.message


def test_an_account_of_the_settings_keeps_its_name(groxy, tmp_path):
    (tmp_path / "groxy.toml").write_text('[[accounts]]\nname = "mine"\nupstream = "sandbox"\n')

    error = groxy("account", "add", "mine", "--upstream", "sandbox").exception

    assert isinstance(error, GroxyError)
    assert "'mine'" in error.message
