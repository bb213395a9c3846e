"""What has been made through the APIs and outlives a restart: subscriptions, topics, keys, and who has shaken hands."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

from emulator.event_grid.database import Database

type TopicKind = Literal["topics", "systemTopics"]


class Catalogue:
    """Every change is on disk when its method returns."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # --- subscriptions ------------------------------------------------------------------------------

    def subscriptions(self) -> dict[str, str]:
        """Key -> JSON."""
        return dict(self._db.read("select name, body from subscription"))

    def keep_subscription(self, key: str, body: str) -> None:
        self._db.write(lambda db: db.execute("insert or replace into subscription values(?,?)", (key, body)))

    def forget_subscription(self, key: str) -> bool:
        return self._db.write(lambda db: db.execute("delete from subscription where name=?", (key,))).rowcount > 0

    # --- handshakes ---------------------------------------------------------------------------------

    def is_validated(self, endpoint: str) -> bool:
        return bool(self._db.read("select 1 from handshake where endpoint=? and validated", endpoint))

    def asked(self, endpoint: str) -> datetime | None:
        """When the endpoint was last sent a code; None: never."""
        ((at,),) = self._db.read("select max(asked) from handshake where endpoint=?", endpoint)
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def ask(self, endpoint: str, code: str, now: datetime) -> None:
        """The endpoint is being sent this code. What it proved before stays proven."""
        self._db.write(lambda db: db.execute("insert into handshake(code, endpoint, asked) values(?,?,?)",
                                             (code, endpoint, now.timestamp())))

    def asked_with(self, code: str) -> datetime | None:
        """When a code was sent; None: nobody was sent it."""
        rows = self._db.read("select asked from handshake where code=?", code)
        return datetime.fromtimestamp(rows[0][0], UTC) if rows else None

    def validate(self, code: str) -> bool:
        """The code has come back; False when nobody was sent it."""
        return self._db.write(lambda db: db.execute("update handshake set validated=1 where code=?", (code,))).rowcount > 0

    # --- topics and their keys ----------------------------------------------------------------------

    def topics(self, kind: TopicKind) -> dict[str, dict[str, Any]]:
        """Those that the management API has made."""
        return {name: json.loads(body) for name, body in self._db.read("select name, body from topic where kind=?", kind)}

    def keep_topic(self, kind: TopicKind, name: str, body: dict[str, Any]) -> None:
        self._db.write(lambda db: db.execute("insert or replace into topic values(?,?,?)", (kind, name, json.dumps(body))))

    def forget_topic(self, kind: TopicKind, name: str) -> None:
        """Its keys go with it: a topic of the same name, made later, has others."""
        def write(db: Any) -> None:
            db.execute("delete from topic where kind=? and name=?", (kind, name))
            if kind == "topics":
                db.execute("delete from access_key where topic=?", (name,))

        self._db.write(write)

    def keys(self, topic: str) -> dict[str, str]:
        """The keys that were made anew: key1 or key2 -> key."""
        return dict(self._db.read("select name, key from access_key where topic=?", topic))

    def keep_key(self, topic: str, name: str, key: str) -> None:
        self._db.write(lambda db: db.execute("insert or replace into access_key values(?,?,?)", (topic, name, key)))
