"""`smoke`: every sample request gets one finite prediction a row, all of one kind, the same each time."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest

from pilotage.domain.gate_specs import SmokeGate
from pilotage.gates.smoke import SampleAnswer, Smoke, judge
from tests.support.trial import FakeTrial, Model

SAMPLES = "azureml:s:1"
SPEC = SmokeGate(samples=SAMPLES, min_requests=2)
GOOD = SampleAnswer(status=200, rows_asked=2, rows_predicted=2, kinds=["number"])


@pytest.mark.parametrize(("answers", "outcome", "says"), [
    ([GOOD, GOOD], "passed", "2 sample requests"),
    ([GOOD], "inconclusive", "the policy asks for 2"),
    ([], "inconclusive", "0 sample requests"),
    ([GOOD, GOOD.model_copy(update={"status": 500, "detail": "boom"})], "failed", "request 2 of 2 was answered 500: boom"),
    ([GOOD, GOOD.model_copy(update={"rows_predicted": None})], "failed", "not answered with a JSON list"),
    ([GOOD, GOOD.model_copy(update={"rows_predicted": 3})], "failed", "2 rows but 3 predictions"),
    ([GOOD, GOOD.model_copy(update={"finite": False})], "failed", "null, NaN or infinite"),
    ([GOOD, GOOD.model_copy(update={"repeated": False})], "failed", "answered otherwise when it was sent again"),
    ([GOOD, GOOD.model_copy(update={"kinds": ["text"]})], "failed", "of different kinds: number, text"),
    ([GOOD, GOOD.model_copy(update={"kinds": ["whole number"]})], "passed", "2 sample requests"),
])
def test_verdicts(answers: list[SampleAnswer], outcome: str, says: str) -> None:
    result = judge(SPEC, answers)
    assert result.outcome == outcome
    assert says in result.message


def _run(model: Model, spec: SmokeGate = SPEC, requests: int = 6, files: dict[str, bytes] | None = None) -> Any:
    lines = "\n".join(json.dumps({"input_data": {"columns": ["x"], "data": [[n], [n + 1]]}}) for n in range(requests))
    trial = FakeTrial(candidate=model, assets={SAMPLES: [("r.jsonl", lines.encode())]}, artifact_files=files or {})
    return Smoke().begin(trial, spec), trial


def test_the_first_requests_are_sent_twice_only_where_the_policy_asks_for_it() -> None:
    counter = itertools.count()
    result, trial = _run(lambda rows: [float(next(counter)) for _ in rows])
    assert result.outcome == "failed"
    assert len(trial.asked) == 6 + 3
    result, trial = _run(lambda rows: [float(next(counter)) for _ in rows], SPEC.model_copy(update={"deterministic": False}))
    assert (result.outcome, len(trial.asked)) == ("passed", 6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, None, [1.0, None], {"score": math.nan}])
def test_a_prediction_that_is_none_fails_wherever_it_stands(bad: Any) -> None:
    result, _ = _run(lambda rows: [1.0, bad])
    assert result.outcome == "failed"


def test_answers_are_held_to_what_the_model_declares() -> None:
    declared = b"signature:\n  outputs: '[{\"type\": \"long\", \"name\": \"minutes\", \"required\": true}]'\n"
    result, _ = _run(lambda rows: [1.5 for _ in rows], files={"MLmodel": declared})
    assert result.outcome == "failed"
    assert "as the model's signature declares: prediction 1 is a fraction; the signature says long" in result.message
    assert _run(lambda rows: [1 for _ in rows], files={"MLmodel": declared})[0].outcome == "passed"
    assert _run(lambda rows: [1.5 for _ in rows], files={"MLmodel": b"a: ["})[0].outcome == "passed", "contract tells a broken file"


def test_evidence_is_small_and_has_no_rows() -> None:
    result, _ = _run(lambda rows: [row["x"] * 2.5 for row in rows], requests=200)
    assert len(json.dumps(result.evidence)) < 500
    assert (result.evidence["requests"], result.evidence["statuses"]) == (200, {"200": 200})
