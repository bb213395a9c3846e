"""Waivers, each written once."""

from __future__ import annotations

import json

from pilotage.domain.canonical import canonical_json, short_hash
from pilotage.domain.waivers import WaiverRecord
from pilotage.ports import Records


class Waivers:
    def __init__(self, records: Records) -> None:
        self._records = records

    def give(self, waiver: WaiverRecord) -> None:
        """Write a waiver; the same one again is fine."""
        name = f"waivers/{_key(waiver.policy, waiver.model, waiver.version)}/{waiver.id}.json"
        self._records.create(name, canonical_json(waiver.model_dump(mode="json")))

    def of(self, policy: str, model: str, version: str) -> list[WaiverRecord]:
        """Every waiver that was ever given for a version under a policy, expired ones too."""
        found = [self._records.read(name) for name in self._records.names(f"waivers/{_key(policy, model, version)}/")]
        return [WaiverRecord.model_validate(json.loads(content)) for content in found if content is not None]


def _key(policy: str, model: str, version: str) -> str:
    return short_hash(policy.casefold(), model.casefold(), version.casefold(), length=24)
