import base64

import pytest

from groxy.settings import rules
from groxy.settings.secret import Secret


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("", []),
        ("  ", []),
        ("sk-a", ["sk-a"]),
        (" sk-a , sk-b,", ["sk-a", "sk-b"]),
        (["sk-a", "sk-b", "sk-a"], ["sk-a", "sk-b"]),
        (("sk-a",), ["sk-a"]),
        ((), []),
    ],
)
def test_keys_come_as_text_comma_list_or_array(value, keys):
    assert [key.reveal() for key in rules.read_keys(value)] == keys


@pytest.mark.parametrize("value", [[], ",", [""], ["sk-a", 5], 5, {"a": 1}, [["sk-a"]], True])
def test_what_is_no_list_of_keys_is_refused_and_never_means_open_mode(value):
    with pytest.raises(ValueError, match=r"key|text"):
        rules.read_keys(value)


@pytest.mark.parametrize("text", ["", " ", "sk a", "sk\na", "sk-\x00", "sk-ü", "Bearer sk-a"])
def test_a_key_that_fits_in_no_header_is_refused_without_being_repeated(text):
    with pytest.raises(ValueError, match=r"header|empty") as caught:
        rules.read_key(text)
    assert "sk" not in str(caught.value)


def test_a_key_loses_the_newline_that_files_end_with():
    assert rules.read_key("xai-1\n") == Secret("xai-1")


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ("http://127.0.0.1:9001/v1", "http://127.0.0.1:9001/v1"),
        ("https://groxy.example/", "https://groxy.example"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("", ""),
    ],
)
def test_web_urls_lose_their_last_slash(given, result):
    assert rules.check_web_url(given) == result


@pytest.mark.parametrize(
    "text",
    [
        "groxy.example",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://[::1",
        "http://u:pw@h",
        "http://h?key=pw",
        "http://h#x",
        " http://h",
        "http://h\n",
        "http://h/a b\t",
    ],
)
def test_other_urls_are_refused_without_being_repeated(text):
    with pytest.raises(ValueError, match="must") as caught:
        rules.check_web_url(text)
    assert "pw" not in str(caught.value)


def test_an_empty_base_url_is_refused():
    with pytest.raises(ValueError, match="empty"):
        rules.check_base_url("")


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ("sqlite+aiosqlite:///groxy.db", "sqlite+aiosqlite:///groxy.db"),
        ("sqlite:///groxy.db", "sqlite+aiosqlite:///groxy.db"),
        ("sqlite+aiosqlite://", "sqlite+aiosqlite://"),
        ("postgres://u:p@h/db", "postgresql+asyncpg://u:p@h/db"),
        ("postgresql://u:p@h:5432/db", "postgresql+asyncpg://u:p@h:5432/db"),
        ("postgresql+asyncpg://u@h/db", "postgresql+asyncpg://u@h/db"),
    ],
)
def test_database_urls_get_the_name_of_their_driver(given, result):
    assert rules.read_store_url(given).reveal() == result


@pytest.mark.parametrize(
    "value", ["groxy.db", "mysql://u:pw@h/db", "sqlite://groxy.db", "postgres:///db", 5, ""]
)
def test_other_databases_are_refused_without_being_repeated(value):
    with pytest.raises(ValueError, match=r"must|needs") as caught:
        rules.read_store_url(value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ("", ""),
        (" ", ""),
        ("memory", "memory://"),
        ("memory:///", "memory://"),
        ("file:///srv/media", "file:///srv/media"),
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("gs://bucket", "gs://bucket"),
        ("az://container/a", "az://container/a"),
    ],
)
def test_media_go_into_a_folder_or_a_bucket(given, result):
    assert rules.read_media_url(given).reveal() == result


@pytest.mark.parametrize(
    "value",
    [
        "media",
        "/srv/media",
        "file://host/srv",
        "file:media",
        "https://bucket/a",
        "s3://",
        "s3://id:pw@bucket/a",
        "s3://bucket/a?secret=pw",
        "s3://bucket/a#pw",
        5,
    ],
)
def test_other_places_for_media_are_refused_without_being_repeated(value):
    with pytest.raises(ValueError, match="must be") as caught:
        rules.read_media_url(value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "image", "video"),
    [
        ("url", "url", "url"),
        ("markdown", "markdown", "markdown"),
        ("base64", "base64", "base64"),
        ("html", "html", "html"),
        ("grok_url", "url", "url"),
        ("local_url", "url", "url"),
        ("grok_md", "markdown", "grok_md"),
        ("local_html", "local_html", "html"),
        (5, 5, 5),
    ],
)
def test_names_of_formats_in_the_contract_become_ours(value, image, video):
    assert rules.read_image_format(value) == image
    assert rules.read_video_format(value) == video


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ("memory://", "memory://"),
        ("memory", "memory://"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("rediss://:pw@h", "rediss://:pw@h"),
        ("valkey://h", "redis://h"),
        ("valkeys://h", "rediss://h"),
    ],
)
def test_state_urls_use_the_schemes_that_the_client_knows(given, result):
    assert rules.read_state_url(given).reveal() == result


@pytest.mark.parametrize("value", ["", "redis", "redis:///0", "http://h", "redis://h:port", 1])
def test_other_state_urls_are_refused(value):
    with pytest.raises(ValueError, match="must"):
        rules.read_state_url(value)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost", "groxy.lan"])
def test_addresses_and_host_names_are_kept(host):
    assert rules.check_host(host) == host


def test_brackets_around_an_ipv6_host_are_taken_off():
    assert rules.check_host("[::1]") == "::1"


@pytest.mark.parametrize("host", ["", "http://h", "h:8000", "127.0.0.1:80", "a b", "*", "h/", "-h"])
def test_a_host_with_scheme_or_port_is_refused(host):
    with pytest.raises(ValueError, match="host name"):
        rules.check_host(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST.", "::ffff:127.0.0.1"]
)
def test_loopback_hosts_are_known(host):
    assert rules.is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.168.1.4", "groxy.lan", "localhost.evil.example", "::ffff:8.8.8.8"],
)
def test_every_other_host_counts_as_reachable(host):
    assert not rules.is_loopback(host)


def test_a_pasted_key_is_no_variable_name_and_is_not_repeated():
    with pytest.raises(ValueError, match="not the key itself") as caught:
        rules.check_variable_name("xai-123")
    assert "xai-123" not in str(caught.value)


@pytest.mark.parametrize("name", ["", ".a", "a b", "a/b", "x" * 65, "é"])
def test_an_account_name_fits_in_urls_and_labels(name):
    with pytest.raises(ValueError, match="1 to 64"):
        rules.check_account_name(name)


@pytest.mark.parametrize("seconds", [0.1, 9.9])
def test_refreshing_all_the_time_is_refused(seconds):
    with pytest.raises(ValueError, match="at least 10"):
        rules.check_refresh(seconds)


def test_an_option_is_one_line():
    with pytest.raises(ValueError, match="control characters"):
        rules.read_option("a\r\nx-evil: 1")


HEX = "00ff" * 16
RAW = bytes.fromhex(HEX)


@pytest.mark.parametrize(
    "text",
    [
        HEX,
        HEX.upper(),
        f" {HEX}\n",
        base64.b64encode(RAW).decode(),
        base64.b64encode(RAW).decode().rstrip("="),
        base64.urlsafe_b64encode(RAW).decode(),
    ],
)
def test_a_secret_key_is_hex_or_base64(text):
    assert rules.bytes_of(rules.read_secret_key(text)) == RAW


@pytest.mark.parametrize("text", ["", "ab", HEX[:-1], HEX + "00", "é" * 64, "ab" * 16, "a b" * 20])
def test_another_secret_key_is_refused_with_a_remedy_and_not_repeated(text):
    with pytest.raises(ValueError, match="openssl rand -hex 32") as caught:
        rules.read_secret_key(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", ()),
        ("a", ("a",)),
        (" a , b,a,", ("a", "b")),
        ('["a", "b,c"]', ("a", "b,c")),
        (["a", " b ", "a", ""], ("a", "b")),
        ((), ()),
    ],
)
def test_words_come_as_array_or_comma_list(value, words):
    assert rules.read_words(value) == words


@pytest.mark.parametrize("value", [5, None, ["a", 5], {"a": 1}, "[", "[5]", [["a"]]])
def test_what_is_no_list_of_words_is_refused(value):
    with pytest.raises(ValueError, match="array of text"):
        rules.read_words(value)


@pytest.mark.parametrize(
    ("value", "statuses"),
    [
        ("", ()),
        ("404", (404,)),
        (" 404, 409,404 ", (404, 409)),
        ("[404, 409]", (404, 409)),
        ([400, 599, 400], (400, 599)),
        ((), ()),
    ],
)
def test_statuses_come_as_array_or_comma_list(value, statuses):
    assert rules.read_statuses(value) == statuses


@pytest.mark.parametrize(
    "value", [404, None, [399], [600], [404.0], ["404"], [True], "x", "40", "٤٠٤", {"404": 1}]
)
def test_what_is_no_list_of_statuses_of_errors_is_refused(value):
    with pytest.raises(ValueError, match="from 400 to 599"):
        rules.read_statuses(value)


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ("http://proxy:8080", "http://proxy:8080"),
        ("https://u:p@proxy/", "https://u:p@proxy"),
        ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
        ("socks5h://u:p@h:1080", "socks5h://u:p@h:1080"),
        ("socks4://h:1", "socks4://h:1"),
    ],
)
def test_proxies_of_all_kinds_are_taken(given, result):
    assert rules.read_proxy_url(given).reveal() == result


@pytest.mark.parametrize(
    "value",
    ["", "proxy:8080", "ftp://u:pw@h", "http://", "http://u:pw@h/x", "http://u:pw@h?x", "h:p", 5],
)
def test_other_proxies_are_refused_without_being_repeated(value):
    with pytest.raises(ValueError, match="must") as caught:
        rules.read_proxy_url(value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["socks5://u:pw@h", "socks5h://h/", "socks4://h:", "socks4://h:0"]
)
def test_a_socks_proxy_without_a_port_is_refused_with_a_remedy_and_not_repeated(value):
    with pytest.raises(ValueError, match=r"must name .* port.*socks5://host:1080") as caught:
        rules.read_proxy_url(value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("value", [5, ["a"], {"super": {"fast": {"x": "y"}}}, {"a": 5}])
def test_what_is_no_table_of_quotas_is_left_for_the_type_to_refuse(value):
    result = rules.read_quotas(value)
    assert not isinstance(result, dict) or not all(isinstance(q, str) for q in result.values())


@pytest.mark.parametrize("text", ["x", "5", '{"super.fast": 5}', "[" * 100_000])
def test_quotas_in_a_variable_are_json(text):
    with pytest.raises(ValueError, match="object of text in JSON"):
        rules.read_quotas(text)


@pytest.mark.parametrize("percentile", [0.1, 49.9])
def test_hedging_most_requests_is_refused(percentile):
    with pytest.raises(ValueError, match="50 to 99"):
        rules.check_percentile(percentile)
