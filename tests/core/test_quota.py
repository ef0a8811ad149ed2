"""Quota windows: what stands in the store is what was known."""

import msgspec
import pytest

from groxy.core.quota import QuotaSource, QuotaWindow


def test_a_window_of_which_nothing_was_told_is_the_operators():
    window = QuotaWindow(remaining=1, total=2, window_s=3)

    assert window.source is QuotaSource.DEFAULT
    assert (window.reset_at, window.synced_at) == (0.0, 0.0)


@pytest.mark.parametrize("source", QuotaSource)
def test_a_window_survives_being_written_and_read(source):
    window = QuotaWindow(
        remaining=10**15, total=2 * 10**15, window_s=0, reset_at=1.5, synced_at=0.5, source=source
    )

    assert msgspec.json.decode(msgspec.json.encode(window), type=QuotaWindow) == window


def test_sources_are_called_as_the_admin_contract_calls_them():
    assert [source.value for source in QuotaSource] == ["real", "estimated", "default"]
