"""Gates that run a team's own component: its metric, its tests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pilotage.domain.gate_specs import CustomGate, UnitTestsGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput, OperationFailed, Unavailable
from pilotage.gates.custom import Custom
from pilotage.gates.interface import JobOutcome
from pilotage.gates.unit_tests import UnitTests
from tests.support.trial import FakeTrial

TRIAL = FakeTrial(assets={"azureml:rows@latest": [("rows.csv", b"a\n1\n")]})
CUSTOM = CustomGate(name="energy", component="azureml:measure@latest", metric="joules", min=1, max=5,
                    inputs={"rows": "azureml:rows@latest", "epochs": "3"})
TESTS = UnitTestsGate(component="azureml:tests@latest", min_tests=2)


def ended(status: str = "Completed", **about: Any) -> JobOutcome:
    return JobOutcome(name="gate-1", status=status, **about)


def measured(value: Any, path: str = "metrics.json") -> JobOutcome:
    return ended(files=[(path, json.dumps(value).encode())])


def test_inputs_are_pinned_data_and_literals() -> None:
    job = Custom().begin(TRIAL, CUSTOM)
    assert (job.component, job.output, job.inputs["epochs"].value) == ("azureml:measure@latest", "result", "3")
    assert job.inputs["rows"].value == "azureml:rows:1"


@pytest.mark.parametrize(("job", "outcome", "says"), [
    (measured({"joules": 5}), "passed", "joules 5 is within"), (measured({"joules": 1.0}, "result"), "passed", "within"),
    (ended(metrics={"joules": 3.0}), "passed", "joules 3"), (measured({"joules": 5.01}), "failed", "joules 5.01 is over the limit 5"),
    (measured({"joules": 0.5}), "failed", "under the limit 1"), (measured({"joules": float("nan")}), "failed", "joules is nan"),
    (measured({"watts": 5}), "inconclusive", "told no joules; it told watts"), (ended(), "inconclusive", "it told nothing"),
    (measured({"joules": "5"}), "inconclusive", "no number"), (measured([5]), "inconclusive", "told no joules"),
    (ended(files=[("notes.txt", b"joules: 5")]), "inconclusive", "told no joules"),
    (ended(metrics={"joules": 9.0}, files=[("m.json", b'{"joules": 2}')]), "passed", "joules 2"),
])
def test_a_metric_keeps_its_limit(job: JobOutcome, outcome: str, says: str) -> None:
    found = Custom().finish(TRIAL, CUSTOM, job)
    assert found.outcome == outcome
    assert says in found.message
    assert list(found.inputs) == ["azureml:rows@latest"]


def junit(*cases: str) -> JobOutcome:
    return ended(files=[("report.xml", f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>".encode())])


GOOD = '<testcase classname="tests.test_model" name="test_shape"/>'
BAD = '<testcase classname="tests.test_model" name="test_{n}"><failure message="no">trace</failure></testcase>'
SKIPPED = '<testcase name="test_gpu"><skipped/></testcase>'


@pytest.mark.parametrize(("job", "outcome", "says"), [
    (junit(GOOD, GOOD), "passed", "2 tests passed"), (junit(GOOD, SKIPPED, GOOD), "passed", "2 tests passed"),
    (junit(GOOD, BAD.format(n=1)), "failed", "1 of 2 tests failed: tests.test_model::test_1"),
    (junit(*[BAD.format(n=n) for n in range(5)]), "failed", "5 of 5 tests failed: tests.test_model::test_0, tests.test_model::test_1, "
                                                            "tests.test_model::test_2 and 2 more"),
    (junit(GOOD, '<testcase name="t"><error/></testcase>'), "failed", "1 of 2"), (junit(GOOD, SKIPPED), "inconclusive", "1 tests ran"),
    (junit(), "inconclusive", "0 tests ran"), (ended(), "inconclusive", "0 tests ran"),
    (junit(GOOD, GOOD).model_copy(update={"status": "Failed"}), "failed", "2 tests passed, but the job ended Failed"),
])
def test_the_report_is_what_counts(job: JobOutcome, outcome: str, says: str) -> None:
    found: GateResult = UnitTests().finish(TRIAL, TESTS, job)
    assert found.outcome == outcome
    assert says in found.message


@pytest.mark.parametrize("content", [b"<html/>", b"not xml", b'<!DOCTYPE x [<!ENTITY a "b">]><testsuite/>', b"<testsuite>"])
def test_a_report_that_is_none_is_ours_to_mend(content: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"report\.xml"):
        UnitTests().finish(TRIAL, TESTS, ended(files=[("report.xml", content)]))


@pytest.mark.parametrize(("status", "error"), [("Canceled", Unavailable), ("NotResponding", Unavailable), ("Failed", OperationFailed)])
def test_a_job_that_says_nothing_of_the_model(status: str, error: type[Exception]) -> None:
    for gate, spec in ((Custom(), CUSTOM), (UnitTests(), TESTS)):
        with pytest.raises(error):
            gate.finish(TRIAL, spec, ended(status, message="out of memory"))  # type: ignore[arg-type]


def test_a_failed_job_with_a_report_is_the_projects_own_verdict() -> None:
    found = UnitTests().finish(TRIAL, TESTS, junit(GOOD, BAD.format(n=1)).model_copy(update={"status": "Failed"}))
    assert found.outcome is GateOutcome.FAILED
    assert "1 of 2 tests failed" in found.message
