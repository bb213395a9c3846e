"""What every `Records` and `Rows` must do. Run on the in-memory doubles and on Azure Storage alike.

Subclass and give a `store` fixture; every test uses names of its own, so one store may serve them all.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from pilotage.errors import Conflict
from pilotage.ports import Records, Rows


@pytest.fixture
def folder() -> str:
    return uuid4().hex


class RecordsContract:
    @pytest.fixture
    def store(self) -> Records:
        raise NotImplementedError

    def test_a_record_is_created_once(self, store: Records, folder: str) -> None:
        assert store.create(f"{folder}/a.json", b"1") is True
        assert store.create(f"{folder}/a.json", b"1") is False
        with pytest.raises(Conflict):
            store.create(f"{folder}/a.json", b"2")
        assert store.read(f"{folder}/a.json") == b"1"

    def test_what_is_not_there_reads_as_none(self, store: Records, folder: str) -> None:
        assert store.read(f"{folder}/none.json") is None
        assert store.names(f"{folder}/") == []

    def test_an_empty_record_is_a_record(self, store: Records, folder: str) -> None:
        assert store.create(f"{folder}/empty", b"") is True
        assert store.read(f"{folder}/empty") == b""

    def test_names_are_sorted_and_limited(self, store: Records, folder: str) -> None:
        for name in ("b/2", "a", "b/10", "c:approval"):
            store.create(f"{folder}/{name}", name.encode())
        assert store.names(f"{folder}/") == [f"{folder}/{name}" for name in ("a", "b/10", "b/2", "c:approval")]
        assert store.names(f"{folder}/b/") == [f"{folder}/b/10", f"{folder}/b/2"]
        assert store.names(f"{folder}/", limit=2) == [f"{folder}/a", f"{folder}/b/10"]

    def test_a_marker_can_be_deleted_again_and_again(self, store: Records, folder: str) -> None:
        store.create(f"{folder}/marker", b"x")
        store.delete(f"{folder}/marker")
        store.delete(f"{folder}/marker")
        assert store.read(f"{folder}/marker") is None
        assert store.create(f"{folder}/marker", b"y") is True

    def test_of_many_writers_one_is_first(self, store: Records, folder: str) -> None:
        def write(number: int) -> bool | None:
            try:
                return store.create(f"{folder}/raced", str(number).encode())
            except Conflict:
                return None

        with ThreadPoolExecutor(8) as writers:
            outcomes = list(writers.map(write, range(16)))
        assert outcomes.count(True) == 1
        assert store.read(f"{folder}/raced") == str(outcomes.index(True)).encode()


class RowsContract:
    @pytest.fixture
    def store(self) -> Rows:
        raise NotImplementedError

    def test_a_row_is_inserted_once(self, store: Rows, folder: str) -> None:
        assert store.get("kinds", folder) is None
        store.put("kinds", folder, {"n": 1}, None)
        with pytest.raises(Conflict):
            store.put("kinds", folder, {"n": 2}, None)
        found = store.get("kinds", folder)
        assert found is not None
        assert found[0] == {"n": 1}

    def test_only_the_version_that_was_read_is_replaced(self, store: Rows, folder: str) -> None:
        store.put("kinds", folder, {"n": 1}, None)
        read = store.get("kinds", folder)
        assert read is not None
        store.put("kinds", folder, {"n": 2}, read[1])
        with pytest.raises(Conflict):
            store.put("kinds", folder, {"n": 3}, read[1])
        with pytest.raises(Conflict):
            store.put("kinds", f"{folder}-none", {"n": 3}, read[1])
        again = store.get("kinds", folder)
        assert again is not None
        assert again[0] == {"n": 2}
        assert again[1] != read[1]

    @pytest.mark.parametrize("key", ["mlw-prod|air-time", "100 %", "a/b\\c#d?e", "promote-x:approval", "Grüße/~"])
    def test_any_key_will_do(self, store: Rows, folder: str, key: str) -> None:
        store.put("keys", f"{folder}{key}", {"key": key}, None)
        found = store.get("keys", f"{folder}{key}")
        assert found is not None
        assert found[0] == {"key": key}

    def test_a_value_comes_back_as_it_was(self, store: Rows, folder: str) -> None:
        value: dict[str, Any] = {"none": None, "list": [1, 2.5, True], "nested": {"text": "Grüße 🚢 'quoted'"}, "long": "x" * 100_000}
        store.put("values", folder, value, None)
        found = store.get("values", folder)
        assert found is not None
        assert found[0] == value
        store.put("values", folder, {"short": 1}, found[1])
        shorter = store.get("values", folder)
        assert shorter is not None
        assert shorter[0] == {"short": 1}

    def test_rows_are_found_by_their_columns(self, store: Rows, folder: str) -> None:
        for number, colour in enumerate(("red", "blue", "red")):
            store.put(folder, f"k{number}", {"n": number}, None, {"colour": colour, "owner": "o'hara"})
        assert [row["n"] for row in store.scan(folder)] == [0, 1, 2]
        assert [row["n"] for row in store.scan(folder, {"colour": "red", "owner": "o'hara"})] == [0, 2]
        assert store.scan(folder, {"colour": "green"}) == []
        assert [row["n"] for row in store.scan(folder, limit=2)] == [0, 1]
        assert [row["n"] for row in store.scan(folder, limit=1, after="k0")] == [1]
        assert [row["n"] for row in store.scan(folder, {"colour": "red"}, after="k0")] == [2]
        assert store.scan(folder, after="k2") == []
        assert store.scan(f"{folder}x") == []

    def test_of_many_writers_each_version_has_one(self, store: Rows, folder: str) -> None:
        store.put("raced", folder, {"by": None}, None)
        read = store.get("raced", folder)
        assert read is not None

        def write(number: int) -> bool:
            try:
                store.put("raced", folder, {"by": number}, read[1])
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as writers:
            outcomes = list(writers.map(write, range(16)))
        assert outcomes.count(True) == 1
        after = store.get("raced", folder)
        assert after is not None
        assert after[0] == {"by": outcomes.index(True)}
