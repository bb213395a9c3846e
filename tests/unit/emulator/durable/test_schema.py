"""Files of other versions: an older one is brought up to date with what is under way in it, a newer one is refused."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from durabletask.entities import EntityInstanceId

from emulator.durable import SqliteBackend
from emulator.durable import schema as layouts
from emulator.durable.journal import Journal, NewerState, UnusableState
from emulator.durable.virtual_time import OffsetClock
from tests.fault.emulator.durable.workload import Log, serve
from tests.integration.emulator.durable.task_hub import TaskHub

FIRST = Path(__file__).parent / "version_1.sql"
"""The dump of a file that version 1 wrote: instances ended, waiting, asleep and not yet started, an entity, a delayed signal."""
WRITTEN = datetime(2026, 11, 23, 13, 49, tzinfo=UTC).timestamp()


def _layout(db: sqlite3.Connection) -> dict[str, list[str]]:
    tables = [name for (name,) in db.execute("select name from sqlite_master where type='table'")]
    return {table: sorted(row[1] for row in db.execute(f"pragma table_info({table})")) for table in tables}


def _first_version(file: Path) -> Path:
    with closing(sqlite3.connect(file)) as db, db:
        db.executescript(FIRST.read_text())
    return file


def test_work_of_the_first_version_is_finished(file: Path, tmp_path: Path) -> None:
    clock = OffsetClock()
    clock.offset_seconds = WRITTEN - time.time()
    registry = serve(Log(tmp_path / "log"))._registry
    hub = TaskHub(_first_version(file), lambda worker: setattr(worker, "_registry", registry), clock)
    try:
        assert hub.output("chain-1") == [f"chain-1/{step} done" for step in range(3)]
        hub.client.raise_orchestration_event("guarded-1", "go-2", data="second")
        assert hub.output("guarded-1") == ["first", "second"]
        assert hub.client.get_orchestration_state("later-1").runtime_status.name == "PENDING"
        hub.advance(4 * 3600)
        assert hub.output("later-1") == [f"later-1/{step} done" for step in range(3)]
        assert hub.output("family-1")[3] == "family-1/sleeper/awake done"
        hub.client.schedule_new_orchestration("reading", input="all", instance_id="reading-1")
        assert hub.output("reading-1") == ["blue", "red"]
        assert hub.client.get_entity(EntityInstanceId("notes", "all")).get_state() == '["blue", "red"]'
        hub.restart()
        assert hub.output("reading-1") == ["blue", "red"]
        tags = {item.instance_id: item.tags for item in hub.backend._instances.values()}
        assert tags["chain-1"] == {"team": "fruit"}
    finally:
        hub.leave()


def test_a_migrated_file_has_the_layout_of_a_new_one(file: Path, tmp_path: Path) -> None:
    Journal(_first_version(file)).close()
    Journal(tmp_path / "new.sqlite").close()
    with closing(sqlite3.connect(file)) as migrated, closing(sqlite3.connect(tmp_path / "new.sqlite")) as new:
        assert _layout(migrated) == _layout(new)
        assert migrated.execute("pragma user_version").fetchone() == new.execute("pragma user_version").fetchone() == (layouts.VERSION,)
        # What version 1 kept elsewhere is where this version looks for it.
        rows = dict(migrated.execute("select id, parent from instance"))
        assert rows["family-1-sleeper"] == "family-1"
        assert migrated.execute("select scheduled = (select due from start_at) from instance where id = 'later-1'").fetchone() == (1,)


def test_a_migration_that_fails_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _first_version(file)
    with closing(sqlite3.connect(file)) as db, db:
        before = list(db.iterdump())
    monkeypatch.setitem(layouts.MIGRATIONS, 2, layouts.MIGRATIONS[2] + "insert into nowhere values(1);")
    with pytest.raises(UnusableState, match="nowhere"):
        Journal(file)
    with closing(sqlite3.connect(file)) as db, db:
        assert list(db.iterdump()) == before
        assert db.execute("pragma user_version").fetchone() == (1,)
    monkeypatch.undo()
    Journal(file).close()


def test_a_newer_file_is_refused_and_left_alone(file: Path) -> None:
    Journal(file).close()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(f"pragma user_version={layouts.VERSION + 1}")
    with pytest.raises(NewerState, match=r"newer version of the local platform: use that one, or another state folder"):
        SqliteBackend(file, OffsetClock())
    with closing(sqlite3.connect(file)) as db, db:
        assert db.execute("pragma user_version").fetchone() == (layouts.VERSION + 1,)


def test_a_file_that_is_no_database_is_refused(file: Path) -> None:
    file.write_bytes(b"not a database, but long enough to be looked at" * 40)
    with pytest.raises(UnusableState, match="damaged or not a database"):
        SqliteBackend(file, OffsetClock())


def test_a_file_has_one_owner(file: Path) -> None:
    owner = SqliteBackend(file, OffsetClock())
    owner.start()
    try:
        with pytest.raises(UnusableState, match="in use by another process"):
            SqliteBackend(file, OffsetClock())
    finally:
        owner.stop(0)
    Journal(file).close()


def test_power_loss_is_thought_of(file: Path) -> None:
    journal = Journal(file)
    assert journal._db.execute("pragma synchronous").fetchone() == (2,)  # FULL
    assert journal._db.execute("pragma journal_mode").fetchone() == ("wal",)
    journal.close()
