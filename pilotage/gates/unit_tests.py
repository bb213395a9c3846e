"""`unit_tests`: the project's own tests run as a component, and its JUnit report is what counts, not its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar
from xml.etree import ElementTree  # documents with a DOCTYPE, where its dangers are, are refused before

from pilotage.domain.gate_specs import UnitTestsGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput
from pilotage.gates.component import failed_without_words, job_of, refuse_stopped, result
from pilotage.gates.interface import GateJob, JobOutcome, Trial

TOLD = 10
"""Failing tests that are named."""


class UnitTests:
    kind: ClassVar[str] = "unit_tests"
    version: ClassVar[str] = "1"
    compares: ClassVar[bool] = False
    spec: ClassVar[type[UnitTestsGate]] = UnitTestsGate

    def begin(self, trial: Trial, spec: UnitTestsGate) -> GateJob:
        return job_of(trial, spec, spec.report)

    def finish(self, trial: Trial, spec: UnitTestsGate, job: JobOutcome) -> GateResult:
        """Raises Unavailable for a job that was stopped, OperationFailed for one without a report, InvalidInput for an unreadable one."""
        refuse_stopped(job)
        cases = [case for path, content in job.files if path.endswith(".xml") or "." not in path.rsplit("/", 1)[-1]
                 for case in _cases(path, content)]
        if not cases and job.status != "Completed":
            raise failed_without_words(job, "JUnit report")
        failed = [name for name, state in cases if state == "failed"]
        ran = [name for name, state in cases if state != "skipped"]
        evidence: dict[str, Any] = {"job": job.name, "tests": len(cases), "failed": len(failed), "skipped": len(cases) - len(ran),
                                    "failing": failed[:TOLD]}

        def told(outcome: GateOutcome, message: str) -> GateResult:
            return result(self.kind, self.version, trial, spec, outcome, message, evidence)

        if failed:
            more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
            return told(GateOutcome.FAILED, f"{len(failed)} of {len(ran)} tests failed: {', '.join(failed[:3])}{more}")
        if job.status != "Completed":
            return told(GateOutcome.FAILED, f"{len(ran)} tests passed, but the job ended {job.status}: {job.message or 'see its log'}")
        if len(ran) < spec.min_tests:
            return told(GateOutcome.INCONCLUSIVE, f"{len(ran)} tests ran; the policy asks for {spec.min_tests} or more")
        return told(GateOutcome.PASSED, f"{len(ran)} tests passed")


def _cases(path: str, content: bytes) -> Iterator[tuple[str, str]]:
    """(name, passed | failed | skipped) of every test of a JUnit report."""
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise InvalidInput(f"{path}: a JUnit report needs no DOCTYPE, and none is read")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314
    except ElementTree.ParseError as error:
        raise InvalidInput(f"{path} is not a JUnit report: {error}") from error
    if root.tag not in ("testsuites", "testsuite"):
        raise InvalidInput(f"{path} is not a JUnit report: its root is {root.tag!r}")
    for case in root.iter("testcase"):
        name = "::".join(part for part in (case.get("classname"), case.get("name")) if part) or "a test without a name"
        kinds = {child.tag for child in case}
        yield name[:200], "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
