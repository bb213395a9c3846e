"""The in-memory stores keep the contract that Azure Storage keeps: what is tested on them holds there."""

from __future__ import annotations

import pytest

from pilotage.ledger.azure import row_key
from tests.support.memory import MemoryRecords, MemoryRows
from tests.support.store_contract import RecordsContract, RowsContract, folder

__all__ = ["folder"]


class TestMemoryRecords(RecordsContract):
    @pytest.fixture
    def store(self) -> MemoryRecords:
        return MemoryRecords()


class TestMemoryRows(RowsContract):
    @pytest.fixture
    def store(self) -> MemoryRows:
        return MemoryRows()


@pytest.mark.parametrize(("key", "expected"), [
    ("promote-air-time-1-abc-1", "promote-air-time-1-abc-1"),
    ("mlw-prod|air-time", "mlw-prod~7cair-time"),
    ("a/b\\c#d?e%f", "a~2fb~5cc~23d~3fe~25f"),
    ("~", "~7e"),
    ("ü", "~c3~bc"),
])
def test_row_keys_hold_nothing_that_a_table_refuses(key: str, expected: str) -> None:
    assert row_key(key) == expected
