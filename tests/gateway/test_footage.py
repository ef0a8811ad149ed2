"""The bytes of a film on their way: whole ones are kept, whatever the pieces they come in."""

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.footage import Boxes, Footage
from groxy.media.fetch import Fetched
from tests.gateway.film_set import FILM, FilmSeat, box
from tests.gateway.stage import Reply

URL = "/files/film.mp4"


def are_whole(*pieces: bytes) -> bool:
    boxes = Boxes()
    for piece in pieces:
        boxes.feed(piece)
    return boxes.are_whole


@pytest.mark.parametrize("size", [1, 3, 8, 9, 64, 10_000])
def test_boxes_are_told_in_whatever_pieces_they_come(size):
    pieces = [FILM[at : at + size] for at in range(0, len(FILM), size)]
    assert are_whole(*pieces)
    assert not are_whole(*pieces[:-1], pieces[-1][:-1])


def test_a_box_may_be_large_or_go_on_to_the_end():
    large = b"\0\0\0\1mdat" + (16 + 5).to_bytes(8, "big") + b"12345"
    assert are_whole(box(b"moov"), large)
    assert not are_whole(box(b"moov"), large[:-1])
    assert are_whole(box(b"moov"), b"\0\0\0\0mdat", b"as much as there is")


@pytest.mark.parametrize(
    "content",
    [b"", box(b"ftyp"), box(b"ftyp") + box(b"mdat", b"x" * 9), b"\0\0\0\3moov", FILM + b"\0"],
    ids=["nothing", "a-head", "no-index", "nonsense", "half-a-box"],
)
def test_what_is_no_whole_film_is_told(content):
    assert not are_whole(content)


async def bring(scene, url=URL, silence_s=5.0):
    (account,) = scene.stage.directory.accounts
    return await Footage(scene.shelf, scene.fetcher).bring_home(
        url, account, owner="key-1", silence_s=silence_s
    )


async def test_an_upstream_that_falls_silent_has_failed(stand):
    silent = Reply(script=[FILM[:100], 5.0, FILM[100:]], content_type="video/mp4")
    scene = await stand(FilmSeat(films=[silent]))
    with pytest.raises(GroxyError) as raised:
        await bring(scene, silence_s=0.05)
    assert raised.value.kind is ErrorKind.UPSTREAM_TIMEOUT
    assert (await scene.shelf.stats())["video"].count == 0


async def test_a_webm_is_kept_too(stand):
    webm = b"\x1aE\xdf\xa3" + b"\x01\0\0\0\0\0\0\x1fB\x82\x84webm" + b"x" * 200
    scene = await stand(FilmSeat(films=[Reply(script=[webm], content_type="video/webm")]))
    stored = await bring(scene)
    assert stored.content_type == "video/webm"
    assert await scene.shelf.read(stored) == webm


class Stranger:
    """A fetcher that has what a test gives it."""

    def __init__(self, found: bytes | GroxyError) -> None:
        self.found = found
        self.asked: list[str] = []

    async def fetch(self, url: str, **more: object) -> Fetched:
        self.asked.append(url)
        if isinstance(self.found, GroxyError):
            raise self.found
        return Fetched(self.found, "video/mp4")


async def test_a_film_at_a_strangers_address_is_fetched_as_a_strangers(stand):
    seat = FilmSeat()
    scene = await stand(seat)
    scene.fetcher = Stranger(FILM)
    stored = await bring(scene, "https://elsewhere.example/film.mp4")
    assert await scene.shelf.read(stored) == FILM
    assert scene.fetcher.asked == ["https://elsewhere.example/film.mp4"]
    assert seat.asked == [], "no credential goes there"


async def test_what_a_stranger_does_not_give_is_the_upstreams_fault(stand):
    scene = await stand(FilmSeat())
    scene.fetcher = Stranger(GroxyError(ErrorKind.BAD_REQUEST, "Not to be had.", param="video"))
    with pytest.raises(GroxyError) as raised:
        await bring(scene, "https://elsewhere.example/film.mp4")
    assert (raised.value.kind, raised.value.param) == (ErrorKind.UPSTREAM_DOWN, None)


async def test_xais_own_host_is_asked_without_credentials(stand):
    seat = FilmSeat()
    scene = await stand(seat)
    await bring(scene, "https://vidgen.x.ai/film.mp4")
    assert seat.asked[0].url == "https://vidgen.x.ai/film.mp4"
    assert not any(name.lower() == "authorization" for name in seat.asked[0].headers)
