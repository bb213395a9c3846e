"""The published JSON Schema of a policy, for editors and reviewers; `pilotage policy schema` prints it."""

from __future__ import annotations

import json
from typing import Any

from pilotage.domain.policy import PromotionPolicy

SCHEMA_ID = "urn:pilotage:policy:v1"


def policy_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a policy file. It can't say all that reading checks: rules between keys are ours alone."""
    generated = PromotionPolicy.model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID,
        **generated, "title": "Pilotage promotion policy",
    }


def schema_text() -> str:
    """The bytes of `policies/schema.json`: stable, so that a difference is a difference of meaning."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"
