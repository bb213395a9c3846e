"""Promotion policies as files: read strictly, with the line of every error."""

from __future__ import annotations

from pilotage.policies.folder import FolderPolicies
from pilotage.policies.reading import Problem, read_guardrails, read_policy
from pilotage.policies.schema import policy_schema

__all__ = ["FolderPolicies", "Problem", "policy_schema", "read_guardrails", "read_policy"]
