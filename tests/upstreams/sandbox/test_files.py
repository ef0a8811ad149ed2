"""The made-up files of the sandbox's keys."""

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._files import read_file_list, read_token_list
from groxy.upstreams.sandbox.files import Shelf
from groxy.wire.json import encode


@pytest.fixture
def shelf():
    return Shelf()


def ids(page):
    return [file["id"] for file in page["data"]]


def test_a_key_has_the_same_files_each_time_and_another_has_others(shelf):
    assert shelf.page("a", 3, {}) == Shelf().page("a", 3, {})
    assert len({*ids(shelf.page("a", 3, {})), *ids(shelf.page("b", 3, {}))}) == 6
    file = shelf.page("a", 1, {})["data"][0]
    assert shelf.file("a", 1, file["id"]) == file
    assert file["filename"] == "0000-notes.txt"


def test_a_deleted_file_is_gone(shelf):
    first, *others = ids(shelf.page("a", 3, {}))
    assert shelf.delete("a", 3, first) == {"id": first, "object": "file", "deleted": True}
    assert ids(shelf.page("a", 3, {})) == others
    for again in (shelf.file, shelf.delete):
        with pytest.raises(GroxyError) as caught:
            again("a", 3, first)
        assert caught.value.kind is ErrorKind.NOT_FOUND


def test_a_file_of_another_key_is_not_there(shelf):
    (other,) = ids(shelf.page("b", 1, {}))
    with pytest.raises(GroxyError) as caught:
        shelf.delete("a", 1, other)
    assert caught.value.kind is ErrorKind.NOT_FOUND


@pytest.mark.parametrize(
    ("read", "name"), [(read_token_list, "pagination_token"), (read_file_list, "after")]
)
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_pages_in_either_way_show_each_file_once(shelf, read, name, count):
    found = []
    cursor = ""
    for _ in range(5):
        page = read(encode(shelf.page("a", count, {name: cursor} if cursor else {})))
        found += [file.id for file in page.files]
        cursor = page.next
        if not cursor:
            break
    assert not cursor
    assert len(set(found)) == len(found) == count


def test_xai_gives_a_token_whether_or_not_more_comes(shelf):
    page = shelf.page("a", 3, {})
    assert page["pagination_token"]
    assert page["has_more"] is False
    after = shelf.page("a", 3, {"pagination_token": page["pagination_token"]})
    assert after["data"] == []
    assert after["pagination_token"]


def test_a_page_has_as_many_as_are_asked_for(shelf):
    page = shelf.page("a", 3, {"limit": "2"})
    assert len(page["data"]) == 2
    assert page["has_more"] is True


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many", "", "٣", "9" * 5000])
def test_a_strange_limit_is_refused(shelf, limit):
    with pytest.raises(GroxyError) as caught:
        shelf.page("a", 3, {"limit": limit})
    assert caught.value.kind is ErrorKind.BAD_REQUEST


def test_deletions_are_bounded_by_key():
    shelf = Shelf(size=2)
    for key in ("a", "b", "c"):
        shelf.delete(key, 1, ids(shelf.page(key, 1, {}))[0])
    assert [len(ids(shelf.page(key, 1, {}))) for key in ("a", "b", "c")] == [1, 0, 0]
