"""Gates: what a candidate must show before anything of it reaches production, and what came of it.

A gate is Passed, Failed (the model's fault), Inconclusive (not enough evidence: holds) or Errored
(ours or Azure's fault). What each gate demands is in `domain.gate_specs`; how it measures is in `pilotage.gates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

from pilotage.domain.assets import Frozen
from pilotage.domain.figures import Figure


class GateOutcome(StrEnum):
    """Passed lets the model on; the three others hold it, for different reasons."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERRORED = "errored"


class Waiver(Frozen):
    """Somebody's word that a failed gate may be passed over: who, why, until when."""

    id: str
    approver: str
    """Object id."""
    reason: str
    expires: str


class GateResult(Frozen):
    """One gate's verdict with its evidence: aggregates and digests, never rows."""

    gate: str
    """`kind`, or `kind:name` where a policy has several of a kind."""
    outcome: GateOutcome
    message: str
    """One sentence that a data scientist understands: what was found, against which limit, and on how much data."""
    evidence: dict[str, Any] = {}
    """Numbers, names and digests behind the verdict, as JSON."""
    figures: list[Figure] = []
    """Plots for the report. Kept with the full evidence; what crosses the durable wire has none."""
    severity: Literal["block", "warn"] = "block"
    version: str = ""
    """The gate's own version: evidence is carried over only between equal ones."""
    inputs: dict[str, str] = {}
    """What was measured with: name -> digest."""
    report: str = ""
    """Digest of the full evidence (this result with its figures), kept in the ledger."""
    carried_from: str = ""
    """The promotion whose measurement this is; empty when it was measured now."""
    waived: Waiver | None = None

    @property
    def blocks(self) -> bool:
        """Whether the promotion stops here."""
        return self.severity == "block" and self.outcome is not GateOutcome.PASSED and self.waived is None


def overall(results: Sequence[GateResult]) -> GateOutcome:
    """The verdict of a stage: Failed outweighs Errored, which outweighs Inconclusive; no gate at all is Errored."""
    outcomes = {result.outcome for result in results if result.blocks}
    for outcome in (GateOutcome.FAILED, GateOutcome.ERRORED, GateOutcome.INCONCLUSIVE):
        if outcome in outcomes:
            return outcome
    return GateOutcome.PASSED if results else GateOutcome.ERRORED
