"""JSON documents in create-only records."""

from __future__ import annotations

import json
from typing import Any

from pilotage.domain.canonical import canonical_json
from pilotage.errors import Conflict
from pilotage.ports import Records


def read_json(records: Records, name: str) -> dict[str, Any] | None:
    content = records.read(name)
    return None if content is None else json.loads(content)


def create_first(records: Records, name: str, value: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Write a document unless one is there: (what is stored, whether it is ours). The first write wins."""
    try:
        created = records.create(name, canonical_json(value))
    except Conflict:
        stored = read_json(records, name)
        if stored is None:  # records are never deleted, so the store contradicts itself
            raise
        return stored, False
    return value, created


def plan_key(plan_hash: str) -> str:
    """The hex part of `sha256:<hex>`, fit for a record's name."""
    return plan_hash.rpartition(":")[2]
