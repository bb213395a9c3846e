"""Gates' evidence: every result with its figures, by its digest; and which measurement may stand for another promotion's."""

from __future__ import annotations

import json
from typing import Any

from pilotage.domain.canonical import canonical_json, digest
from pilotage.domain.gates import GateResult
from pilotage.ledger.documents import create_first, plan_key, read_json
from pilotage.ports import Records


class GateEvidence:
    def __init__(self, records: Records) -> None:
        self._records = records

    def keep(self, result: GateResult, promotion: str) -> GateResult:
        """Write the full result; returns it as it crosses the durable wire: with the digest, without the figures."""
        value = {"promotion": promotion, "result": result.model_dump(mode="json", exclude={"report"})}
        found = digest(value)
        self._records.create(f"evidence/gates/{plan_key(found)}.json", canonical_json(value))
        return result.model_copy(update={"report": found, "figures": []})

    def read(self, report: str) -> GateResult | None:
        """The full result behind a digest; None when there is none, or when its bytes are not what the digest says."""
        content = self._records.read(f"evidence/gates/{plan_key(report)}.json")
        if content is None:
            return None
        value: dict[str, Any] = json.loads(content)
        if digest(value) != report:
            return None
        return GateResult.model_validate(value["result"]).model_copy(update={"report": report})

    def remember(self, key: str, result: GateResult, promotion: str) -> None:
        """Let a kept result stand for equal measurements; the first one does."""
        create_first(self._records, f"evidence/carry/{plan_key(key)}.json",
                     {"promotion": promotion, "result": result.model_dump(mode="json")})

    def recall(self, key: str) -> tuple[GateResult, str] | None:
        """An earlier result that was remembered under the key, and for which promotion it was measured."""
        found = read_json(self._records, f"evidence/carry/{plan_key(key)}.json")
        return None if found is None else (GateResult.model_validate(found["result"]), found["promotion"])
