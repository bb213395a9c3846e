"""The state folder of an older version opens, with what was in it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from emulator.event_grid.database import Database
from tests.support.event_grid import LocalEventGrid
from tests.support.subscriber import until
from tests.unit.emulator.event_grid.endpoint import Endpoint

FIRST = """
create table delivery(
  number integer primary key autoincrement, topic text not null, subscription text not null, event text not null,
  published real not null, due real not null, state text not null default 'pending', attempts integer not null default 0,
  status integer, outcome text not null default '', reason text not null default '', attempted real);
create index delivery_due on delivery(subscription, due) where state in ('pending', 'dead_lettering');
create view open_delivery as select * from delivery where state in ('pending', 'dead_lettering');
create table attempt(delivery integer not null, at real not null, status integer, outcome text not null);
create index attempt_delivery on attempt(delivery);
create table subscription(name text primary key, body text not null);
create table validation(endpoint text primary key, code text not null, validated integer not null default 0);
"""
"""The schema before it had a number."""


async def test_from_the_first_schema(tmp_path: Path, webhook: Endpoint) -> None:
    with sqlite3.connect(tmp_path / "event_grid.sqlite") as db:
        db.executescript(FIRST)
        db.execute("insert into delivery(topic, subscription, event, published, due) values('alerts', 'mine', ?, 1e9, 1e9)",
                   ('{"id": "old", "topic": "alerts", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z", "data": 1}',))
        db.execute("insert into subscription values('mine', ?)", (
            json.dumps({"name": "mine", "topics": ["alerts"], "endpoint": webhook.url, "ttl_minutes": 1440}),))
        db.execute("insert into validation values(?, 'code', 1)", (webhook.url,))
    for _ in range(2):
        grid = LocalEventGrid(tmp_path, webhook)
        await grid.start()
        (item,) = (await grid.http.get("/_emulator/eventgrid/subscriptions")).json()["items"]
        assert (item["name"], item["validated"], item["provisioning"]) == ("mine", True, "Succeeded")
        assert [item["eventId"] for item in await grid.deliveries()] == ["old"]
        await grid.ended("dead_lettered", "mine")  # its day is over
        await grid.stop()
    second = LocalEventGrid(tmp_path, webhook)
    await second.start()
    second.publish("new")
    await until(lambda: webhook.ids == ["new"])
    assert webhook.handshakes == []
    await second.stop()


def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "event_grid.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(FIRST)
        db.execute("insert into validation values('http://x', 'code', 1)")
    monkeypatch.setattr("emulator.event_grid.database._FROM_1", "insert into handshake select code, endpoint, 0, validated from validation;"
                                                                "drop table validation; nonsense;")
    with pytest.raises(sqlite3.OperationalError):
        Database(path)
    monkeypatch.undo()
    database = Database(path)
    assert database.read("select code, endpoint, validated from handshake") == [("code", "http://x", 1)]
    database.close()
