"""The resource store: ids without case, children, transactions."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.azure_ml.store import ResourceStore, UnknownResource


@pytest.fixture
def store(tmp_path: Path) -> ResourceStore:
    return ResourceStore(tmp_path / "resources.sqlite")


def test_ids_are_compared_without_case_and_bodies_kept(store: ResourceStore) -> None:
    assert store.put("/W/Models/M", {"id": "/W/Models/M"}) is True
    assert store.put("/w/models/m", {"id": "/W/Models/M", "again": True}) is False
    assert store.get("/w/MODELS/m") == {"id": "/W/Models/M", "again": True}
    assert store.get("/w/models/other") is None


def test_children_are_direct_and_oldest_first(store: ResourceStore) -> None:
    for name in ("b", "a", "c"):
        store.put(f"/w/models/{name}", {"name": name})
    store.put("/w/models/b/versions/1", {"name": "1"})
    store.put("/w/models/b", {"name": "b", "changed": True})
    assert [item["name"] for item in store.children("/W/models")] == ["b", "a", "c"]


def test_deleting_takes_what_is_below_and_nothing_beside(store: ResourceStore) -> None:
    for path in ("/w/e/one", "/w/e/one/d/blue", "/w/e/one-more", "/w/e/one0", "/w/e/one_%"):
        store.put(path, {})
    assert sorted(store.delete("/w/e/ONE")) == ["/w/e/one", "/w/e/one/d/blue"]
    assert len(store.children("/w/e")) == 3
    assert store.delete("/w/e/one") == []


def test_a_transaction_is_all_or_nothing(store: ResourceStore) -> None:
    store.put("/a", {"n": 1})

    def change() -> None:
        with store.transaction():
            store.put("/a", {"n": 2})
            with store.transaction():
                store.put("/b", {})
            raise RuntimeError("second thoughts")

    with pytest.raises(RuntimeError, match="second thoughts"):
        change()
    assert store.get("/a") == {"n": 1}
    assert store.get("/b") is None


def test_a_change_reads_and_writes(store: ResourceStore) -> None:
    store.put("/a", {"n": 1})
    assert store.change("/A", lambda found: found.update(n=found["n"] + 1)) == {"n": 2}
    assert store.get("/a") == {"n": 2}
    with pytest.raises(UnknownResource):
        store.change("/b", lambda found: None)


def test_it_is_there_for_the_next_process(store: ResourceStore, tmp_path: Path) -> None:
    store.put("/a", {"n": 1})  # not closed: as after kill -9
    assert ResourceStore(tmp_path / "resources.sqlite").get("/a") == {"n": 1}
