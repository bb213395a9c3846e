"""`security`: the artifact is safe to load, its dependencies pinned and known to be sound, its licence and card are there.

Nothing of the model is ever loaded here.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pilotage.domain.gate_specs import SecurityGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.gates.interface import Trial
from pilotage.gates.security import advisories, card, pickles, pins
from pilotage.gates.security.findings import Finding

TOLD = 20
"""Findings in the evidence."""


class Security:
    kind: ClassVar[str] = "security"
    version: ClassVar[str] = "1"
    compares: ClassVar[bool] = False
    spec: ClassVar[type[SecurityGate]] = SecurityGate

    def begin(self, trial: Trial, spec: SecurityGate) -> GateResult:
        findings, seen = pickles.scan(trial, spec.allow_globals)
        pinned, loose = pins.read(trial)
        if spec.require_pins:
            findings += loose
        inputs = {}
        if spec.advisories:
            known = advisories.read(trial.files(spec.advisories), spec.advisories)
            findings += advisories.check(pinned, known, spec.max_severity)
            inputs[spec.advisories] = trial.data(spec.advisories).digest.value
            seen["advisories"] = len(known)
        findings += card.check(trial.model, spec.licences, spec.card)
        failed = [finding for finding in findings if finding.level == "failed"]
        unknown = [finding for finding in findings if finding.level == "unknown"]
        evidence: dict[str, Any] = seen | {"pinned": len(pinned), "findings": [
            f"{finding.part}: {finding.message}"[:300] for finding in (failed + unknown)[:TOLD]], "more": max(len(findings) - TOLD, 0)}
        outcome, message = self._verdict(failed, unknown, seen, len(pinned))
        return GateResult(gate=self.kind, outcome=outcome, message=message, evidence=evidence, version=self.version, inputs=inputs)

    @staticmethod
    def _verdict(failed: list[Finding], unknown: list[Finding], seen: dict[str, Any], pinned: int) -> tuple[GateOutcome, str]:
        for found, outcome in ((failed, GateOutcome.FAILED), (unknown, GateOutcome.INCONCLUSIVE)):
            if found:
                more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
                return outcome, f"{found[0].message}{more}"
        return GateOutcome.PASSED, (f"{seen['pickles']} pickles in {seen['files']} files import nothing dangerous, "
                                    f"{pinned} requirements are pinned")
