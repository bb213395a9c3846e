"""`contract`: requests against the signature, and the endpoint's answers against the model's own."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from pilotage.domain.gate_specs import ContractGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import OperationFailed
from pilotage.gates.contract import Contract
from pilotage.gates.interface import GateJob, JobOutcome
from pilotage.gates.predictions import equal
from tests.support.trial import FakeTrial, Model, Refused
from tests.unit.gates.test_signature import NAMES, mlmodel, split

SAMPLES = "azureml:requests@latest"
SPEC = ContractGate(samples=SAMPLES)
ENVIRONMENT = "azureml://registries/r/environments/e/versions/1"
ROWS = [["UA", 7, 100.5, None], ["AA", 8, 700.0, "late"]]
GOOD = [split(NAMES, *ROWS), split(NAMES[:3], ["DL", 9, 3.0])]


def own(rows: list[dict[str, Any]]) -> list[float]:
    """What the model itself predicts."""
    return [row["distance"] * 0.1 + row["hour"] for row in rows]


def trial(requests: list[dict[str, Any]] | None = None, candidate: Model = own, **about: Any) -> FakeTrial:
    lines = "\n".join(json.dumps(request) for request in (GOOD if requests is None else requests)).encode()
    return FakeTrial(candidate=candidate, assets={SAMPLES: [("requests.jsonl", lines)]}, environment=ENVIRONMENT,
                     **{"artifact_files": {"MLmodel": mlmodel()}} | about)


def job(predictions: list[Any] | None = None, **files: Any) -> JobOutcome:
    lines = [own([dict(zip(NAMES, row, strict=False)) for row in request["input_data"]["data"]]) for request in GOOD]
    written = {"summary.json": {"versions": {"python": "3.13"}, "rows": 3, "reads_by_place": False}} | files
    predicted = "\n".join(json.dumps({"request": n, "predictions": p}) for n, p in enumerate(predictions or lines, 1))
    told = [("predictions.jsonl", predicted.encode())]
    told += [(name, json.dumps(value).encode()) for name, value in written.items() if value is not None]
    return JobOutcome(name="gate-contract-1", status="Completed", files=sorted(told))


def finished(candidate: Model = own, outcome: JobOutcome | None = None, spec: ContractGate = SPEC) -> GateResult:
    return Contract().finish(trial(candidate=candidate), spec, outcome or job())


def test_requests_that_fit_are_predicted_by_the_model_itself_in_its_environment() -> None:
    found = Contract().begin(trial(), SPEC)
    assert isinstance(found, GateJob)
    assert (found.program, found.environment, found.compute) == ("offline", ENVIRONMENT, "cpu-cluster")
    assert [found.inputs[name].type for name in ("model", "samples")] == ["mlflow_model", "uri_folder"]
    assert found.inputs["max_rows"].value == "2000"
    for name in found.inputs:
        assert f"${{{{inputs.{name}}}}}" in found.command


@pytest.mark.parametrize(("requests", "says"), [
    ([split(["hour", "carrier", "distance"], [7, "UA", 1.0])], "another order than the model's signature"),
    ([GOOD[0], split(NAMES, ["UA", "7", 1.0, None])], "sample request 2 does not fit the model's signature: row 1: hour is text"),
    ([split(["carrier", "hour"], ["UA", 7])], "distance is missing"),
])
def test_a_request_that_does_not_fit_fails_although_every_status_is_200(requests: list[dict[str, Any]], says: str) -> None:
    asked = trial(requests)
    found = Contract().begin(asked, SPEC)
    assert isinstance(found, GateResult)
    assert found.outcome is GateOutcome.FAILED
    assert says in found.message
    assert asked.asked == [], "nothing needs to be asked"


@pytest.mark.parametrize("about", [{"artifact_files": {"model.pkl": b"x"}}, {"artifact_files": {"MLmodel": b"flavors: {}"}}])
def test_a_model_without_signature_decides_nothing(about: dict[str, Any]) -> None:
    found = Contract().begin(trial(**about), SPEC)
    assert isinstance(found, GateResult)
    assert found.outcome is GateOutcome.INCONCLUSIVE
    assert "infer_signature" in found.message


def test_equal_answers_pass_row_for_row() -> None:
    found = finished()
    assert found.outcome is GateOutcome.PASSED
    assert (found.evidence["rows"], found.evidence["different"], found.evidence["largest_difference"]) == (3, 0, 0)


def _refusing(rows: list[dict[str, Any]]) -> Any:
    raise Refused(424, "boom")


@pytest.mark.parametrize(("candidate", "says"), [
    (lambda rows: [value + 1 for value in own(rows)], "3 of 3 rows (first: request 1, row 1: the endpoint 18.05, the model 17.05)"),
    (lambda rows: own(rows)[::-1], "2 of 3 rows"),
    (lambda rows: own(rows)[:1], "has 2 rows: the endpoint answered 1 predictions, the model itself 2"),
    (lambda rows: [math.nan for _ in rows], "3 of 3 rows"),
    (lambda rows: [str(value) for value in own(rows)], "3 of 3 rows"),
    (_refusing, "sample request 1 was answered 424: boom"),
])
def test_an_endpoint_that_answers_otherwise_fails(candidate: Model, says: str) -> None:
    found = finished(candidate)
    assert found.outcome is GateOutcome.FAILED
    assert says in found.message


def test_rounding_within_the_tolerance_is_no_difference() -> None:
    def nearly(rows: list[dict[str, Any]]) -> list[float]:
        return [value * (1 + 1e-8) for value in own(rows)]

    found = finished(nearly)
    assert found.outcome is GateOutcome.PASSED
    assert found.figures[0].kind == "histogram"
    exactly = ContractGate(samples=SAMPLES, relative_tolerance=0.0, absolute_tolerance=0.0)
    assert finished(nearly, spec=exactly).outcome is GateOutcome.FAILED


@pytest.mark.parametrize(("phase", "error"), [
    ("be loaded", "ModuleNotFoundError: No module named 'xgboost'"), ("be loaded", "EOFError: Ran out of input"),
    ("predict sample request 1", "ValueError: shape")])
def test_a_model_that_does_not_work_in_its_own_environment_fails_with_its_own_words(phase: str, error: str) -> None:
    found = finished(outcome=job(**{"failure.json": {"phase": phase, "error": error, "versions": {"python": "3.13"}}}))
    assert found.outcome is GateOutcome.FAILED
    assert f"the model could not {phase}: {error}" in found.message


@pytest.mark.parametrize("outcome", [
    JobOutcome(name="j", status="Failed", message="out of memory"), JobOutcome(name="j", status="Canceled"),
    job(**{"summary.json": None}), job().model_copy(update={"status": "Failed"})])
def test_a_job_that_proves_nothing_is_not_the_models_fault(outcome: JobOutcome) -> None:
    with pytest.raises(OperationFailed, match="wrote no predictions"):
        finished(outcome=outcome)


def test_what_a_job_left_out_is_not_taken_for_equal() -> None:
    with pytest.raises(OperationFailed, match="predicted 1 of 2 sample requests"):
        finished(outcome=job([own([dict(zip(NAMES, row, strict=True)) for row in ROWS])]))
    few = ContractGate(samples=SAMPLES, max_rows=2)
    assert finished(outcome=job([own([dict(zip(NAMES, row, strict=True)) for row in ROWS])]), spec=few).outcome is GateOutcome.PASSED


@pytest.mark.parametrize(("server", "model"), [
    ([None, 1.0], ["nan", 1.0]), ([{"score": 1.0}, {"score": 2.0}], [{"score": 1.0}, {"score": 2.0}]),
    ({"label": ["a", "b"], "score": [1.0, 2.0]}, [{"label": "a", "score": 1.0}, {"label": "b", "score": 2.0}]),
])
def test_answers_in_every_form_are_compared_row_for_row(server: Any, model: list[Any]) -> None:
    few = ContractGate(samples=SAMPLES, max_rows=2)
    assert finished(lambda rows: server, job([model]), few).outcome is GateOutcome.PASSED


@pytest.mark.parametrize(("one", "other", "same"), [
    (1, 1.0, True), (1.0, 1.0 + 1e-9, True), (1.0, 1.1, False), ("a", "a", True), ("1", 1, False), (True, 1, False), (None, None, True),
    ([1, 2], [1, 2], True), ([1], [1, 2], False), ({"a": 1.0}, {"a": 1.0 + 1e-12}, True), ({"a": 1}, {"b": 1}, False),
    (math.nan, "nan", True), (math.nan, 1.0, False), ("nan", "nan", True),
])
def test_what_is_equal(one: Any, other: Any, same: bool) -> None:
    assert equal(one, other, 1e-6, 1e-9) is same
