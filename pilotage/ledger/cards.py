"""What a model says of itself when it is pinned: kept, so that pages need not ask Azure ML for it."""

from __future__ import annotations

from typing import Any

from pilotage.domain.assets import ModelVersion
from pilotage.ledger.documents import create_first, read_json
from pilotage.ports import Records

LONGEST = 2000
"""Characters of one text."""
MOST = 40
"""Tags or properties."""


class Cards:
    def __init__(self, records: Records) -> None:
        self._records = records

    def keep(self, promotion: str, model: ModelVersion) -> None:
        """The first card of a promotion stays."""
        create_first(self._records, f"cards/{promotion}.json", {
            "description": model.description[:LONGEST], "type": model.type, "registered_by": model.created_by, "job": model.job or "",
            "tags": _short(model.tags), "properties": _short(model.properties)})

    def of(self, promotion: str) -> dict[str, Any] | None:
        return read_json(self._records, f"cards/{promotion}.json")


def _short(texts: dict[str, str]) -> dict[str, str]:
    return {name: text[:LONGEST] for name, text in sorted(texts.items())[:MOST]}
