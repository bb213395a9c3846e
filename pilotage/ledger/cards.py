"""What a model says of itself when it is pinned: kept, so that pages need not ask Azure ML for it."""

from __future__ import annotations

from typing import Any

from pilotage.domain.assets import ModelVersion
from pilotage.domain.model_signatures import ModelSignature
from pilotage.ledger.documents import create_first, read_json
from pilotage.ports import Records

LONGEST = 2000
"""Characters of one text."""
MOST = 40
"""Tags or properties."""


class Cards:
    def __init__(self, records: Records) -> None:
        self._records = records

    def keep(self, promotion: str, model: ModelVersion, signature: ModelSignature | None = None, problem: str = "") -> None:
        """The first card of a promotion stays. `problem`: why its signature can't be read."""
        create_first(self._records, f"cards/{promotion}.json", {
            "description": model.description[:LONGEST], "type": model.type, "registered_by": model.created_by, "job": model.job or "",
            "tags": _short(model.tags), "properties": _short(model.properties),
            "signature": signature.model_dump(mode="json") if signature else None, "signature_problem": problem[:LONGEST]})

    def signature(self, promotion: str) -> ModelSignature | None:
        """None: it has none, none that can be read, or nothing was kept of this promotion."""
        found = (self.of(promotion) or {}).get("signature")
        return ModelSignature.model_validate(found) if found else None

    def of(self, promotion: str) -> dict[str, Any] | None:
        return read_json(self._records, f"cards/{promotion}.json")


def _short(texts: dict[str, str]) -> dict[str, str]:
    return {name: text[:LONGEST] for name, text in sorted(texts.items())[:MOST]}
