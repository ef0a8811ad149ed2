import asyncio
import base64
import gzip
import socket
import tracemalloc
import zlib
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from aiohttp.abc import AbstractResolver
from hypothesis import given, settings, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.media import fetch as module
from groxy.media.fetch import Fetched, Fetcher, data_uri, is_public

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
JPEG = b"\xff\xd8\xff\xe0" + bytes(99)
GIF = b"GIF89a" + bytes(99)
WEBP = b"RIFF\x10\n\0\0WEBPVP8 " + bytes(99)
PDF = b"%PDF-1.7\n" + bytes(99)
EVERYTHING = ("image/", "application/", "text/")


class Server:
    """Answers every connection with the same bytes, and counts what it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.port = 0
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/picture.png"

    async def _serve(self, reader, writer):
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            if callable(self.answer):
                await self.answer(self, writer)
            else:
                writer.write(self.answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer):
    server = Server(answer)
    listening = await asyncio.start_server(server._serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def reply(body=PNG, status="200 OK", content_type="image/png", **headers):
    lines = {"Content-Length": str(len(body)), **headers}
    if content_type is not None:
        lines["Content-Type"] = content_type
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


class Names(AbstractResolver):
    """Knows every host, by the answers that it was given: the next one each time it is asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(addresses, Exception):
            raise addresses
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
            for address in addresses
        ]

    async def close(self):
        pass


async def fetched(url, *, max_bytes=100_000, accepts=EVERYTHING, **options):
    fetcher = Fetcher(**{"allow_private": True, **options})
    return await fetcher.fetch(url, max_bytes=max_bytes, accepts=accepts, param="messages.0")


async def error_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    error = caught.value
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "messages.0")
    return error


async def fetched_from(answer, **options):
    async with serving(answer) as server:
        return await fetched(server.url, **options)


@pytest.fixture
def one_public_address(monkeypatch):
    """Let 127.0.0.1 stand for the public internet; all other addresses keep out."""
    monkeypatch.setattr(module, "is_public", lambda text: text == "127.0.0.1")
    monkeypatch.setattr(module, "_is_own", lambda family, destination: False)


# ------------------------------------------------------------------------------------ fetching


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (GIF, "image/gif"),
        (b"GIF87a", "image/gif"),
        (WEBP, "image/webp"),
        (PDF, "application/pdf"),
    ],
)
@pytest.mark.parametrize(
    "declared", ["application/octet-stream", "text/html", "image/jpeg", ";;;", "\xe4", None]
)
async def test_the_bytes_say_what_a_picture_or_document_is(body, media_type, declared):
    assert await fetched_from(reply(body, content_type=declared)) == Fetched(body, media_type)


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        ("text/plain", "text/plain"),
        ("Text/Markdown; charset=utf-8", "text/markdown"),
        ("text/html;charset=latin-1", "text/html"),
        ("application/json", "application/json"),
    ],
)
async def test_text_is_what_its_server_calls_it(header, media_type):
    body = "größer 模型".encode()

    assert await fetched_from(reply(body, content_type=header)) == Fetched(body, media_type)


@pytest.mark.parametrize("charset", ["ISO-8859-1", '"latin1"', "windows-1252; x=y"])
async def test_western_text_becomes_utf_8(charset):
    answer = reply(b"gr\xf6\xdfer", content_type=f"text/plain; charset={charset}")

    assert (await fetched_from(answer)).body.decode() == "größer"


@pytest.mark.parametrize(
    ("body", "declared"),
    [
        (b"<svg xmlns=''/>", "image/svg+xml"),
        (b"<html>no picture</html>", "image/png"),
        (b"\x7fELF\x02\x01", "image/png"),
        (b"PNG\r\n\x1a\n", "image/png"),
        (b"RIFF\x10\0\0\0WAVE", "image/webp"),
        (b"", "image/png"),
        (b"a\0b", "text/plain"),
        (b"\xff\xfea\0", "text/plain"),
        (b"gr\xf6\xdfer", "text/plain"),
        (b"gr\xf6\xdfer", "text/plain; charset=unicode_escape"),
        (b"a", "text/plain,evil"),
        (b"a", "text/"),
        (b"a", None),
    ],
)
async def test_what_is_none_of_what_we_know_is_refused(body, declared):
    error = await error_of(fetched_from(reply(body, content_type=declared)))

    assert "something else" in error.message


async def test_a_type_that_is_not_wanted_here_is_refused_and_named():
    accepts = frozenset({"image/", "text/plain"})
    error = await error_of(fetched_from(reply(PDF, content_type="image/png"), accepts=accepts))

    assert "application/pdf" in error.message
    assert "image/*, text/plain" in error.message


async def test_a_body_without_a_length_is_read_to_its_end():
    assert (await fetched_from(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)).body == PNG


async def test_a_body_in_chunks_is_put_together():
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, PNG[i : i + 1]) for i in range(len(PNG)))
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"

    assert (await fetched_from(answer)).body == PNG


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress)],
)
async def test_a_packed_body_is_unpacked(encoding, pack):
    assert (await fetched_from(reply(pack(PNG), Content_Encoding=encoding))).body == PNG


async def test_a_request_says_nothing_of_us_and_nothing_of_others(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hush-hush\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(reply(Set_Cookie="a=b")) as server:
        fetcher = Fetcher(allow_private=True)
        for _ in "ab":
            await fetcher.fetch(server.url, max_bytes=999, accepts=("image/",), param="x")

    first, second = server.asked
    names = {line.split(b":")[0].lower() for line in first.split(b"\r\n")[1:] if line}
    assert first == second
    assert names == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
    assert b"User-Agent: groxy-fetch\r\n" in first


async def test_fetches_at_once_do_not_disturb_each_other():
    async with serving(reply()) as server:
        found = await asyncio.gather(*(fetched(server.url) for _ in range(20)))

    assert found == [Fetched(PNG, "image/png")] * 20


def test_a_data_uri_holds_the_content():
    uri = data_uri(Fetched(PNG, "image/png"))

    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body, validate=True) == PNG


def test_a_content_is_not_shown_when_printed():
    assert "private" not in repr(Fetched(b"very private", "text/plain"))


# ---------------------------------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "picture.png",
        "/etc/passwd",
        "//127.0.0.1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1:70/_x",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http:",
        "http://",
        "http:///x",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:port/",
        "http://[::1/",
        "http://127.0.0.1/\r\nX-Evil: 1",
        "http://127.0.0.1/\t",
        " http://127.0.0.1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1\\@x.example/",
        "http://127.0.0.1/\0",
        "http://127.0.0.1/\ud83d",
        "http://127.0.0.1/" + "a" * 8_192,
        "h" * 1_000_000,
    ],
)
async def test_what_is_no_web_address_is_refused_with_the_way_out(url):
    error = await error_of(fetched(url))

    assert "not an http or https URL" in error.message
    assert "data URI" in error.message


@pytest.mark.parametrize("user", ["me:hush-hush@", "me@", ":hush-hush@", "127.0.0.1%2f@"])
async def test_credentials_in_a_url_are_refused_and_not_repeated(user):
    async with serving(reply()) as server:
        error = await error_of(fetched(server.url.replace("127", f"{user}127", 1)))

    assert "password" in error.message
    assert "hush-hush" not in error.message + error.detail
    assert server.asked == []


async def test_what_stands_behind_a_hash_is_not_sent():
    async with serving(reply()) as server:
        await fetched(server.url + "#@10.0.0.1/")

    assert server.asked[0].startswith(b"GET /picture.png HTTP/1.1\r\n")


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial", "304 Same", "403 No", "500 X"])
async def test_a_status_other_than_200_is_told(status):
    error = await error_of(fetched_from(reply(b"", status)))

    assert status[:3] in error.message


# ----------------------------------------------------------------------------------- addresses

SPECIAL = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200"),
    *("100.127.255.255", "127.0.0.1", "127.1.2.3", "169.254.169.254", "172.16.0.1"),
    *("172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
    *("192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:7f00:1"),
    *("::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::1"),
    *("100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1", "fe80::1%eth0", "fec0::1"),
    *("ff02::1", "ff0e::1", "2606:4700::1%lo"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1"),
    *("172.15.255.255", "172.32.0.1", "192.0.1.1", "198.17.255.255", "198.20.0.1"),
    *("223.255.255.255", "168.63.129.15", "2606:4700:4700::1111"),
    *("2a00:1450:4001:82f::200e", "2001:4860:4860::8888", "2001:200::1", "::ffff:8.8.8.8"),
    *("64:ff9b::8.8.8.8", "2002:808:808::1"),
]


@pytest.mark.parametrize("address", SPECIAL)
def test_an_address_that_is_not_of_the_public_internet_is_known(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public_internet_is_known(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "8.8.8.8.", "\0"]
)
def test_what_is_no_address_is_not_public(text):
    assert not is_public(text)


INSIDE = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3"),
    )
]


@given(st.sampled_from(INSIDE), st.integers(0, 2**32 - 1))
def test_no_address_of_an_inner_network_is_public_however_it_is_carried(network, number):
    inner = int(network.network_address) + number % network.num_addresses
    carried = [
        IPv4Address(inner),
        IPv6Address((0xFFFF << 32) + inner),
        IPv6Address((0x64FF9B << 96) + inner),
        IPv6Address((0x2002 << 112) + (inner << 80) + number),
        IPv6Address(inner),
    ]

    assert [address for address in carried if is_public(str(address))] == []


@given(st.integers(0, 2**128 - 1))
@settings(max_examples=300)
def test_outside_of_the_public_block_an_ipv6_address_is_public_only_if_it_carries_one(number):
    address = IPv6Address(number)

    if is_public(str(address)) and number >> 125 != 1:
        assert number >> 32 in {0xFFFF, 0x64FF9B << 64}


LOOPBACK_FORMS = [
    *("127.0.0.1", "127.1", "127.0.1", "0x7f000001", "0x7f.0.0.1", "2130706433"),
    *("0177.0.0.1", "017700000001", "localhost", "0.0.0.0", "0"),
    *("\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "[::1]", "[::]"),
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]"),
    *("[2002:7f00:1::]", "[::1%25lo]", "[fe80::1%25lo]", "[fe80::1%lo]"),
]


@pytest.mark.parametrize("host", LOOPBACK_FORMS)
async def test_this_machine_is_never_asked_however_it_is_written(host):
    async with serving(reply()) as server:
        error = await error_of(fetched(f"http://{host}:{server.port}/", allow_private=False))

    assert server.asked == []
    assert error.message == module._NOT_FETCHED


@pytest.mark.parametrize(
    "host", ["localhost.", "LOCALHOST", "127.0.0.1.", "a.localhost", "x.example", "x..", "0x7f.1."]
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1"])
async def test_a_name_that_leads_inside_is_not_asked(host, address):
    names = Names([address])
    async with serving(reply()) as server:
        url = f"http://{host}:{server.port}/"
        error = await error_of(fetched(url, allow_private=False, resolver=names))

    assert server.asked == []
    assert error.message == module._NOT_FETCHED


async def test_a_name_that_leads_outside_and_inside_is_refused_whole(one_public_address):
    async with serving(reply()) as server:
        url = f"http://x.example:{server.port}/"
        names = Names(["127.0.0.1", "10.0.0.1"])
        await error_of(fetched(url, allow_private=False, resolver=names))

    assert server.asked == []


async def test_a_machines_own_public_address_is_refused(monkeypatch):
    monkeypatch.setattr(module, "is_public", lambda text: True)
    async with serving(reply()) as server:
        error = await error_of(fetched(server.url, allow_private=False))

    assert server.asked == []
    assert error.message == module._NOT_FETCHED


async def test_refused_unknown_and_away_are_told_in_the_same_words():
    unused = socket.socket()
    unused.bind(("127.0.0.1", 0))
    away = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    guarded = {"allow_private": False}
    errors = [
        await error_of(fetched("http://127.0.0.1/", **guarded)),
        await error_of(fetched("http://x.example/", resolver=Names(["10.0.0.1"]), **guarded)),
        await error_of(fetched("http://x.example/", resolver=Names([]), **guarded)),
        await error_of(fetched("http://x.example/", resolver=Names(socket.gaierror(-2, "no")))),
        await error_of(fetched("http://x.example/", resolver=Names(["no address"]))),
        await error_of(fetched(away)),
        await error_of(fetched(f"https{away[4:]}")),
    ]
    unused.close()

    assert {error.message for error in errors} == {module._NOT_FETCHED}


@pytest.mark.parametrize("host", ["127.0.0.1", "x.example"])
async def test_the_log_alone_says_that_a_host_was_refused(host):
    names = Names(["10.0.0.1"])
    error = await error_of(fetched(f"http://{host}/", allow_private=False, resolver=names))

    assert host in error.detail
    assert "not a public address" in error.detail
    assert host not in error.message


async def test_a_url_which_may_be_a_secret_is_not_logged():
    error = await error_of(fetched("http://127.1/?signature=hush-hush", allow_private=False))

    assert error.detail
    assert "hush-hush" not in error.detail + error.message


# ----------------------------------------------------------------------------------- rebinding


async def test_a_name_is_resolved_once_and_that_address_is_asked(one_public_address):
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with serving(reply()) as server:
        url = f"http://x.example:{server.port}/"
        found = await fetched(url, allow_private=False, resolver=names)

    assert found.body == PNG
    assert names.asked == ["x.example"]
    assert f"Host: x.example:{server.port}\r\n".encode() in server.asked[0]


async def test_a_name_that_leads_inside_the_second_time_is_refused_then(one_public_address):
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with serving(reply(b"", "302 Found", Location="/again")) as server:
        url = f"http://x.example:{server.port}/"
        error = await error_of(fetched(url, allow_private=False, resolver=names))

    assert error.message == module._NOT_FETCHED
    assert names.asked == ["x.example"] * 2
    assert len(server.asked) == 1


async def test_an_address_that_slips_past_the_resolver_is_refused_at_the_socket(monkeypatch):
    checks = []

    def only_the_first_time(text):
        checks.append(text)
        return len(checks) == 1

    monkeypatch.setattr(module, "is_public", only_the_first_time)
    async with serving(reply()) as server:
        url = f"http://x.example:{server.port}/"
        await error_of(fetched(url, allow_private=False, resolver=Names(["127.0.0.1"])))

    assert checks == ["127.0.0.1"] * 2
    assert server.asked == []


# ----------------------------------------------------------------------------------- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(status):
    async with serving(reply()) as there:
        redirect = reply(b"", f"{status} There", Location=there.url)

        assert (await fetched_from(redirect)).body == PNG


async def test_a_cookie_is_not_taken_along():
    async def answer(server, writer):
        redirect = reply(b"", "302 Found", Location="/next", Set_Cookie="a=b; Path=/")
        writer.write(redirect if len(server.asked) == 1 else reply())

    async with serving(answer) as server:
        url = f"http://x.example:{server.port}/"
        await fetched(url, resolver=Names(["127.0.0.1"]))

    assert len(server.asked) == 2
    assert b"cookie" not in server.asked[1].lower()


@pytest.mark.parametrize(("times", "is_followed"), [(1, True), (3, True), (4, False), (99, False)])
async def test_three_redirects_are_followed_and_no_more(times, is_followed):
    async def answer(server, writer):
        left = times - len(server.asked) + 1
        writer.write(reply(b"", "302 Found", Location="next?x=1") if left > 0 else reply())

    async with serving(answer) as server:
        outcome = fetched(server.url)
        if is_followed:
            assert (await outcome).body == PNG
        else:
            assert "3 times" in (await error_of(outcome)).message

    assert len(server.asked) == min(times, 3) + 1
    assert server.asked[1].startswith(b"GET /next?x=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "//192.168.0.1/",
        "http://[::1]:PORT/",
        "http://[::ffff:127.0.0.1]:PORT/",
        "http://0x7f000001:PORT/",
        "http://127.1:PORT/",
        "http://localhost:PORT/",
        "http://me:hush-hush@127.0.0.1:PORT/",
        "http://127.0.0.1:0/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:PORT/",
        "data:image/png;base64,AAAA",
        "http://[::1",
        "\\\\10.0.0.1\\x",
        "http://127.0.0.1:PORT/\xe4\xff",
    ],
)
async def test_a_redirect_that_leads_inside_or_nowhere_is_not_followed(
    one_public_address, location
):
    async def answer(server, writer):
        target = location.replace("PORT", str(server.port))
        writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ")
        writer.write(target.encode("latin-1") + b"\r\n\r\n")

    async with serving(answer) as server:
        names = Names(["::1"])
        error = await error_of(fetched(server.url, allow_private=False, resolver=names))

    assert len(server.asked) == 1
    assert error.message == module._NOT_FETCHED
    assert "hush-hush" not in error.message + error.detail


# -------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("headers", [{}, {"Content_Encoding": "identity"}])
async def test_a_body_of_the_allowed_size_is_taken_and_one_byte_more_is_not(headers):
    answer = reply(PNG, **headers)

    assert (await fetched_from(answer, max_bytes=len(PNG))).body == PNG
    assert "263 bytes" in (await error_of(fetched_from(answer, max_bytes=263))).message


async def test_a_body_that_is_declared_too_large_is_not_waited_for():
    async def answer(_server, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(20)

    error = await error_of(fetched_from(answer))

    assert "100,000 bytes" in error.message


@pytest.mark.parametrize("framing", [b"", b"Transfer-Encoding: chunked\r\n"])
async def test_a_body_without_an_end_is_left_at_the_limit(framing):
    sent = 0

    async def answer(_server, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n" + framing + b"\r\n")
        while True:
            piece = PNG * 100
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if framing else piece)
            await writer.drain()
            sent += len(piece)

    error = await error_of(fetched_from(answer))

    assert "100,000 bytes" in error.message
    assert sent < 50_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_not_unpacked(encoding):
    pack = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    bomb = b"".join(pack.compress(bytes(1_000_000)) for _ in range(100)) + pack.flush()
    assert len(bomb) < 100_000

    tracemalloc.start()
    try:
        error = await error_of(fetched_from(reply(bomb, Content_Encoding=encoding)))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert "100,000 bytes" in error.message
    assert peak_bytes < 10_000_000


async def test_a_packed_body_that_holds_nothing_has_its_limit_too():
    empty_blocks = gzip.compress(b"")[:10] + b"\x00\x00\x00\xff\xff" * 30_000

    error = await error_of(fetched_from(reply(empty_blocks, Content_Encoding="gzip")))
    streamed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + empty_blocks
    also = await error_of(fetched_from(streamed))

    assert "100,000 bytes" in error.message
    assert "100,000 bytes" in also.message


async def test_what_follows_a_packed_body_is_not_read():
    async def answer(_server, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(PNG))
        await writer.drain()
        await asyncio.sleep(20)

    assert (await fetched_from(answer)).body == PNG


async def test_text_that_grows_over_the_limit_as_utf_8_is_refused():
    answer = reply(b"\x80" * 100, content_type="text/plain; charset=windows-1252")

    assert "200 bytes" in (await error_of(fetched_from(answer, max_bytes=200))).message


async def silent(_server, _writer):
    await asyncio.sleep(20)


async def headless(_server, writer):
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def dripping(_server, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n")
    while True:
        writer.write(PNG[:1])
        await writer.drain()
        await asyncio.sleep(0.01)


async def redirecting(server, writer):
    await asyncio.sleep(0.15)
    writer.write(reply(b"", "302 Found", Location=server.url))


@pytest.mark.parametrize("answer", [silent, headless, dripping, redirecting])
async def test_the_time_limit_holds_for_all_of_it(answer):
    began = asyncio.get_running_loop().time()

    error = await error_of(fetched_from(answer, timeout_s=0.3))

    assert asyncio.get_running_loop().time() - began < 2
    assert error.message == module._NOT_FETCHED


async def test_a_name_that_takes_forever_to_resolve_is_given_up():
    class Slow(Names):
        async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
            await asyncio.sleep(20)

    error = await error_of(fetched("http://x.example/", timeout_s=0.1, resolver=Slow()))

    assert error.message == module._NOT_FETCHED


async def test_whoever_is_cancelled_while_fetching_is_cancelled():
    async with serving(silent) as server, asyncio.TaskGroup() as group:
        task = group.create_task(fetched(server.url))
        while not server.asked:
            await asyncio.sleep(0.01)
        task.cancel()

    assert task.cancelled()


# ------------------------------------------------------------------------------- hostile bytes


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 1_000,
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\x80\r\nContent-Length: 0\r\n\r\n",
        reply(PNG)[:-1],
        reply(gzip.compress(PNG)[:-9], Content_Encoding="gzip"),
        reply(PNG, Content_Encoding="gzip"),
        reply(PNG, Content_Encoding="br"),
        reply(PNG, Content_Encoding="gzip, gzip"),
        reply(b"", Content_Encoding="gzip"),
    ],
)
async def test_a_reply_that_makes_no_sense_is_told_as_one_that_did_not_come(answer):
    error = await error_of(fetched_from(answer, timeout_s=2))

    assert error.message == module._NOT_FETCHED


@given(st.binary(max_size=300), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", reply()[:60]]))
@settings(max_examples=60, deadline=None)
def test_whatever_a_server_sends_ends_in_a_content_or_a_refusal(data, head):
    async def outcome():
        try:
            return await fetched_from(head + data, timeout_s=2)
        except GroxyError as error:
            return error.kind

    result = asyncio.run(outcome())

    assert isinstance(result, Fetched) or result is ErrorKind.BAD_REQUEST
