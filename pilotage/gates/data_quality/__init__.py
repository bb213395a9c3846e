"""The data_quality gate: a data asset keeps its contract, is fresh and large enough, and holds no row of the training data.

docs/gates/data-quality.md tells the rules; what a contract may say is `gates.data_contract`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pilotage.domain.figures import Figure, Intervals
from pilotage.domain.gate_specs import DataQualityGate, result_name
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.gates import data_contract, tables
from pilotage.gates.data_contract import DataContract
from pilotage.gates.data_quality.leaks import leaks
from pilotage.gates.data_quality.rules import Finding, age, broken, in_days
from pilotage.gates.data_quality.shares import drift, nulls
from pilotage.gates.interface import Trial

TOLD = 20
"""Findings in the evidence and columns in the figure of drift, the worst first."""
TOLD_DRIFTS = 10


class DataQuality:
    """Failed when the data breaks a rule, Inconclusive when it keeps all but is too small for `min_rows` to say much."""

    kind: ClassVar[str] = "data_quality"
    version: ClassVar[str] = "1"
    compares: ClassVar[bool] = False
    spec: ClassVar[type[DataQualityGate]] = DataQualityGate

    def begin(self, trial: Trial, spec: DataQualityGate) -> GateResult:
        """Raises InvalidInput for a contract that can't be read, and for columns of the policy that the data does not have."""
        data = trial.data(spec.subject)
        columns, rows = tables.table(trial.files(spec.subject), data.id)
        evidence: dict[str, Any] = {"rows": len(rows), "min_rows": spec.min_rows, "columns": len(columns), "data": data.digest.value}
        inputs = {"data": data.digest.value}
        findings: list[Finding] = []
        contract = None
        if spec.contract:
            contract = data_contract.read(trial.files(spec.contract), trial.data(spec.contract).id)
            inputs["contract"] = evidence["contract"] = trial.data(spec.contract).digest.value
            findings += broken(contract, columns, rows)
        if spec.freshness and (contract is None or spec.freshness.column not in contract.columns or spec.freshness.column in columns):
            found, evidence["freshness"] = age(spec.freshness, columns, rows, trial.now(), data.id)
            findings += found
        figures: list[Figure] = [nulls(columns, rows, contract)]
        if spec.training:
            training = trial.data(spec.training)
            inputs["training"] = training.digest.value
            trained_columns, trained = tables.table(trial.files(spec.training), training.id)
            found, evidence["overlap"] = leaks(spec, columns, rows, trained_columns, trained, trial.seed)
            findings += found
            drifts = drift(columns, rows, trained_columns, trained, trial.seed)
            evidence["drift_psi"] = {entry.label[:60]: round(entry.value, 4) for entry in drifts[:TOLD_DRIFTS]}
            if drifts:
                figures.append(Intervals(title="Drift of inputs from training to this data", unit="population stability index",
                                         rows=drifts[:TOLD], marks={"slight": 0.1, "large": 0.25}))
        findings.sort(key=lambda one: (-one.badness, one.column, one.rule))
        evidence |= {"broken_rules": len(findings),
                     "findings": [{"column": one.column[:60], "rule": one.rule[:80], "count": one.count} for one in findings[:TOLD]]}
        outcome, message = self._judged(spec, findings, contract, len(rows))
        return GateResult(gate=result_name(self.kind, spec), outcome=outcome, message=message, evidence=evidence, figures=figures,
                          severity=spec.severity, version=self.version, inputs=inputs)

    @staticmethod
    def _judged(spec: DataQualityGate, findings: Sequence[Finding], contract: DataContract | None, rows: int) -> tuple[GateOutcome, str]:
        if findings:
            rest = "; ".join(one.told for one in findings[1:3])
            more = f"; and {len(findings) - 3} more broken rules" if findings[3:] else ""
            return GateOutcome.FAILED, f"{findings[0].told}{f'; {rest}' if rest else ''}{more}"
        if rows < spec.min_rows:
            return GateOutcome.INCONCLUSIVE, f"{rows} rows; the policy asks for {spec.min_rows} or more"
        kept = [f"the contract of {len(contract.columns)} columns is kept"] if contract else []
        kept += [f"the newest row is within {in_days(spec.freshness.max_age)}"] if spec.freshness else []
        kept += ["no more training rows are in it than allowed"] if spec.training else []
        return GateOutcome.PASSED, f"{' and '.join(kept) or 'nothing but the number of rows is asked for'}, on {rows} rows"
