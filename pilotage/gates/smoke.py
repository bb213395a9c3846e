"""`smoke`: the deployment answers every sample request with one finite prediction per row, as declared, the same each time."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pilotage.domain.assets import Frozen
from pilotage.domain.figures import Histogram
from pilotage.domain.gate_specs import SmokeGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.domain.model_signatures import ModelSignature
from pilotage.errors import InvalidInput, NotFound, TooLarge
from pilotage.gates.interface import Trial
from pilotage.gates.predictions import equal, is_finite, predictions
from pilotage.gates.signature import answer_misfit, read_signature
from pilotage.gates.tables import requests

REPEATED = 3
"""How many of the sample requests are sent a second time."""


class SampleAnswer(Frozen):
    """One sample request's answer: HTTP status, rows asked, rows predicted (None: not a JSON list), seconds."""

    status: int
    rows_asked: int
    rows_predicted: int | None
    finite: bool = True
    seconds: float = 0.0
    detail: str = ""
    kinds: list[str] = []
    """Of what JSON types the predictions are."""
    repeated: bool | None = None
    """Whether the same request was answered alike a second time; None: it was sent once."""
    misfit: str | None = None
    """Why the predictions are not what the model's signature declares."""


class Smoke:
    """Says whether the deployment works at all. Needs no heavy library, so a rollout may ask it often."""

    kind = "smoke"
    version = "2"
    compares = False
    spec = SmokeGate

    def begin(self, trial: Trial, spec: SmokeGate) -> GateResult:
        signature = _declared(trial)
        answers = [_ask(trial, request, rows, signature, again=spec.deterministic and number < REPEATED)
                   for number, (request, rows) in enumerate(requests(trial.files(spec.samples), spec.samples))]
        return judge(spec, answers).model_copy(update={
            "version": self.version, "inputs": {spec.samples: trial.data(spec.samples).digest.value}})


def _declared(trial: Trial) -> ModelSignature | None:
    """The signature; one that can't be read is for the contract gate to tell."""
    try:
        return read_signature(trial)
    except (InvalidInput, NotFound, TooLarge):
        return None


def _ask(trial: Trial, request: dict[str, Any], rows: int, signature: ModelSignature | None, *, again: bool) -> SampleAnswer:
    body = json.dumps(request).encode()
    begun = time.perf_counter()
    answer = trial.score(body)
    seconds = answer.seconds or time.perf_counter() - begun
    values = predictions(answer)
    repeated = None
    if again and answer.status == 200 and values is not None:
        # Up to the noise of a processor that adds in another order.
        repeated = equal(predictions(trial.score(body)), values, 1e-6, 1e-9)
    return SampleAnswer(
        status=answer.status, rows_asked=rows, rows_predicted=None if values is None else len(values),
        finite=values is not None and all(is_finite(value) for value in values), seconds=seconds, detail=answer.body[:500],
        kinds=sorted({_kind(value) for value in values or []}), repeated=repeated,
        misfit=answer_misfit(signature, values) if signature is not None and values is not None else None)


def judge(spec: SmokeGate, answers: Sequence[SampleAnswer]) -> GateResult:
    """Every sample request is answered 200 with one finite JSON prediction per row, all of one kind."""
    evidence: dict[str, Any] = {
        "requests": len(answers),
        "statuses": {str(code): sum(a.status == code for a in answers) for code in sorted({a.status for a in answers})},
        "slowest_seconds": round(max((a.seconds for a in answers), default=0.0), 3),
        "repeated": sum(a.repeated is not None for a in answers),
    }

    def result(outcome: GateOutcome, message: str) -> GateResult:
        return GateResult(gate="smoke", outcome=outcome, message=message, evidence=evidence, figures=_figures(answers))

    if len(answers) < spec.min_requests:
        return result(GateOutcome.INCONCLUSIVE, f"{len(answers)} sample requests; the policy asks for {spec.min_requests}")
    for number, answer in enumerate(answers, start=1):
        if problem := _problem(answer):
            return result(GateOutcome.FAILED, f"sample request {number} of {len(answers)} {problem}")
    kinds = sorted({kind for answer in answers for kind in answer.kinds} - {"whole number"})
    if len(kinds) > 1:
        return result(GateOutcome.FAILED, f"the predictions are of different kinds: {', '.join(kinds)}")
    return result(GateOutcome.PASSED, f"{len(answers)} sample requests answered, one finite prediction per row")


def _problem(answer: SampleAnswer) -> str | None:
    if answer.status != 200:
        return f"was answered {answer.status}: {answer.detail[:300]}"
    if answer.rows_predicted is None:
        return f"was not answered with a JSON list of predictions: {answer.detail[:300]}"
    if answer.rows_predicted != answer.rows_asked:
        return f"has {answer.rows_asked} rows but {answer.rows_predicted} predictions"
    if not answer.finite:
        return "was answered with predictions that are null, NaN or infinite"
    if answer.misfit is not None:
        return f"was not answered as the model's signature declares: {answer.misfit}"
    if answer.repeated is False:
        return "was answered otherwise when it was sent again: set `deterministic: false` if the model is meant to be random"
    return None


def _kind(value: Any) -> str:
    """A whole number is a number too: 3 and 3.5 are of one kind."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "whole number"
    return {float: "number", str: "text", list: "list", dict: "object"}.get(type(value), "null")


def _figures(answers: Sequence[SampleAnswer]) -> list[Histogram]:
    milliseconds = sorted(answer.seconds * 1000 for answer in answers)
    if len(milliseconds) < 5 or milliseconds[0] == milliseconds[-1]:
        return []
    low, high = milliseconds[0], milliseconds[-1]
    edges = [low + (high - low) * step / 10 for step in range(11)]
    counts = [sum(a <= value < b or (value == high and b == edges[-1]) for value in milliseconds)
              for a, b in pairwise(edges)]
    return [Histogram(title="Time to answer a sample request", unit="ms", edges=edges, series={"requests": counts},
                      marks={"median": milliseconds[len(milliseconds) // 2]})]
