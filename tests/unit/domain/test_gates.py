"""The verdict of a stage, out of its gates'."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.gates import GateOutcome, GateResult, Waiver, overall

RESULTS = st.lists(st.builds(lambda outcome: GateResult(gate="g", outcome=outcome, message=""), st.sampled_from(GateOutcome)), max_size=6)


@given(RESULTS, st.randoms(use_true_random=False))
def test_a_stage_passes_only_when_every_gate_did(results: list[GateResult], random: Any) -> None:
    shuffled = list(results)
    random.shuffle(shuffled)
    assert overall(shuffled) is overall(results)
    assert (overall(results) is GateOutcome.PASSED) is (bool(results) and all(r.outcome is GateOutcome.PASSED for r in results))


def test_the_models_fault_outweighs_ours() -> None:
    def result(outcome: GateOutcome) -> GateResult:
        return GateResult(gate="g", outcome=outcome, message="")

    assert overall([result(GateOutcome.ERRORED), result(GateOutcome.FAILED)]) is GateOutcome.FAILED
    assert overall([result(GateOutcome.INCONCLUSIVE), result(GateOutcome.ERRORED)]) is GateOutcome.ERRORED
    assert overall([]) is GateOutcome.ERRORED, "a stage without gates showed nothing"


def test_what_only_warns_and_what_is_waived_stop_nothing() -> None:
    failed = GateResult(gate="g", outcome=GateOutcome.FAILED, message="")
    waiver = Waiver(id="w", approver="oid-grace", reason="known and accepted", expires="2026-12-31T00:00:00+00:00")
    assert overall([failed.model_copy(update={"severity": "warn"})]) is GateOutcome.PASSED
    assert overall([failed.model_copy(update={"waived": waiver})]) is GateOutcome.PASSED
    assert overall([failed.model_copy(update={"waived": waiver}), failed]) is GateOutcome.FAILED
