import pytest

from groxy.store import tables
from groxy.store.entries import AttemptEntry, RequestEntry
from groxy.store.writers import entry_writer
from groxy.store.writing import Statements


@pytest.mark.parametrize(
    ("entry", "table"), [(RequestEntry, tables.requests), (AttemptEntry, tables.attempts)]
)
def test_the_fields_of_an_entry_are_the_columns_in_order(entry, table):
    assert list(entry._fields) == [column.name for column in table.columns]


@pytest.mark.parametrize("entry", [RequestEntry, AttemptEntry])
async def test_fields_in_another_order_are_noticed_at_the_start(sqlite, monkeypatch, entry):
    monkeypatch.setattr(Statements, "_known", {})
    monkeypatch.setattr(entry, "_fields", entry._fields[::-1])

    with pytest.raises(TypeError, match="not in the order"):
        entry_writer(sqlite)
