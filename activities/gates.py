"""Activities that measure: they send requests to a deployment and let `domain.gates` judge the answers."""

from __future__ import annotations

import json
import math
from itertools import batched
from typing import Any

from activities import samples
from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.assets import DataVersion
from pilotage.domain.gates import SampleAnswer, compute_metric, judge_metric, judge_smoke
from pilotage.domain.policy import MetricGate, SmokeGate
from pilotage.errors import InvalidInput, Throttled, Unavailable
from pilotage.ports import Answer

BATCH = 500
"""Rows a scoring request: well under the endpoint's payload limit."""


@effect
def run_smoke(payload: dict) -> dict:
    """{"workspace", "endpoint", "name", "gate": SmokeGate, "data": DataVersion} -> {"result": GateResult}."""
    gate = SmokeGate.model_validate(payload["gate"])
    answers = [_sample(payload, request, rows) for request, rows in samples.requests(DataVersion.model_validate(payload["data"]))]
    return {"result": judge_smoke(gate, answers).model_dump(mode="json")}


@effect
def run_metric(payload: dict) -> dict:
    """{..., "gate": MetricGate, "data": DataVersion} -> {"result": GateResult}: scored by the deployment, computed here."""
    gate = MetricGate.model_validate(payload["gate"])
    data = DataVersion.model_validate(payload["data"])
    columns, rows = samples.table(data)
    if gate.target not in columns:
        raise InvalidInput(f"the holdout {data.id} has no column {gate.target!r} (it has {', '.join(columns)}): mend the gate's target")
    label = columns.index(gate.target)
    features = [name for name in columns if name != gate.target]
    truth, predicted = [row[label] for row in rows], []
    unlabelled = sum(value is None or (gate.metric != "accuracy" and not _is_number(value)) for value in truth)
    if unlabelled:
        raise InvalidInput(f"{unlabelled} of {len(rows)} rows of the holdout {data.id} have no {gate.target!r} that {gate.metric} can use")
    for batch in batched(rows, BATCH, strict=False):
        body = {"input_data": {"columns": features, "index": list(range(len(batch))),
                               "data": [[value for at, value in enumerate(row) if at != label] for row in batch]}}
        answer = _score(payload, body)
        values = _predictions(answer)
        if answer.status != 200 or values is None or len(values) != len(batch):
            return {"result": {"gate": f"metric:{gate.metric}", "outcome": "failed", "evidence": {"status": answer.status},
                               "message": f"{len(batch)} holdout rows were answered {answer.status} with "
                                          f"{'no list' if values is None else f'{len(values)} predictions'}: {answer.body[:300]}"}}
        predicted += values
    countable = gate.metric == "accuracy" or all(map(_is_number, predicted))
    value = compute_metric(gate.metric, truth, predicted) if rows and countable else math.nan
    return {"result": judge_metric(gate, value=value, rows=len(rows), holdout=data.digest.value).model_dump(mode="json")}


def _sample(payload: dict, request: dict[str, Any], rows: int) -> SampleAnswer:
    answer = _score(payload, request)
    values = _predictions(answer)
    return SampleAnswer(
        status=answer.status, rows_asked=rows, rows_predicted=None if values is None else len(values),
        finite=values is not None and all(_is_finite(value) for value in values), seconds=answer.seconds, detail=answer.body[:500])


def _score(payload: dict, body: dict[str, Any]) -> Answer:
    answer = app().deployments.score(payload["workspace"], payload["endpoint"], json.dumps(body).encode(), deployment=payload["name"])
    if answer.status == 429:  # too many requests at once says nothing of the model
        raise Throttled(f"{payload['endpoint']}/{payload['name']} asks for fewer requests")
    if answer.status >= 500:  # a managed endpoint maps its model's failures to 424 and 408: 5xx is its own infrastructure
        raise Unavailable(f"{payload['endpoint']} itself answered {answer.status}: {answer.body[:200]}")
    return answer


def _predictions(answer: Answer) -> list[Any] | None:
    """The predictions of an answer: a JSON list, bare or under `predictions`."""
    try:
        value = json.loads(answer.body)
    except ValueError:
        return None
    if isinstance(value, dict):
        value = value.get("predictions")
    return value if isinstance(value, list) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_finite(item) for item in value)
    return value is not None and (not isinstance(value, float) or math.isfinite(value))
