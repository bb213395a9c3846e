"""When a measurement holds for another promotion: everything that it depends on is equal, by digest."""

from __future__ import annotations

from typing import Any

from pilotage.domain.canonical import digest
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.gates.interface import Champion

# They decide what a verdict means, not what it is.
_BESIDE = frozenset({"severity", "timeout"})
_SETTLED = (GateOutcome.PASSED, GateOutcome.FAILED)


def evidence_key(*, kind: str, version: str, spec: dict[str, Any], model_digest: str, environment: str, inputs: dict[str, str],
                 size: dict[str, Any], champion: Champion | None) -> str:
    """`sha256:<hex>` of what a verdict depends on: gate, its version, thresholds, model, environment, inputs, size, opponent."""
    return digest({
        "gate": kind, "version": version, "spec": {name: value for name, value in spec.items() if name not in _BESIDE},
        "model": model_digest, "environment": environment, "inputs": inputs, "size": size,
        "champion": champion.model_dump(mode="json") if champion else None})


def may_carry(result: GateResult) -> bool:
    """Only what was settled: what was Inconclusive or Errored is measured again."""
    return result.outcome in _SETTLED


def carried(result: GateResult, promotion: str, severity: str) -> GateResult:
    """An earlier result for this promotion, marked so."""
    return result.model_copy(update={"carried_from": promotion, "severity": severity})
