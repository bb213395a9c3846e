"""A catalogue of what goes wrong with models: each fault is caught by exactly the gates that should, and good models by none.

Slow and flaky endpoints are in test_performance.py, whose load runs in virtual time; broken components in test_components.py.
"""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import TooLarge
from pilotage.gates.catalogue import find
from pilotage.gates.interface import GateJob, JobOutcome
from tests.support.trial import FakeTrial, Model, Refused, Row
from tests.unit.gates.test_security import Evil, advisory
from tests.unit.gates.test_signature import mlmodel

SAMPLES, HOLDOUT, CONTRACT, TRAINING, OSV = (f"azureml:{name}@latest" for name in ("requests", "holdout", "contract", "training", "osv"))
COLUMNS = ["origin", "distance", "hour"]
SIGNATURE = [{"name": "origin", "type": "string", "required": True}, {"name": "distance", "type": "double", "required": True},
             {"name": "hour", "type": "long", "required": True}]
RULES = b"""version: 1
rows: {min: 100}
unique: [[day, flight]]
columns:
  day: {type: date}
  flight: {type: integer}
  origin: {type: text, categories: [EWR, JFK, LGA]}
  distance: {type: number, min: 0, max: 6000}
  hour: {type: integer, min: 0, max: 23}
  minutes: {type: number}
"""
GATES: dict[str, dict[str, Any]] = {
    "smoke": {"samples": SAMPLES}, "contract": {"samples": SAMPLES},
    "data_quality": {"data_asset": HOLDOUT, "contract": CONTRACT, "training": TRAINING, "key": ["day", "flight"],
                     "freshness": {"column": "day", "max_age": "P30D"}},
    "metric": {"metric": "mae", "holdout": HOLDOUT, "target": "minutes", "max": 4},
    "champion": {"metric": "mae", "holdout": HOLDOUT, "target": "minutes", "max_regression": 0.5, "resamples": 500},
    "responsible_ai": {"sensitive": ["origin"], "metric": "mae", "holdout": HOLDOUT, "target": "minutes", "max_ratio": 1.4,
                       "resamples": 500},
    "security": {"advisories": OSV, "licences": ["MIT"], "card": ["owner"]},
}


def own(rows: list[Row]) -> list[float]:
    """The model as it was trained: right up to the noise of the labels."""
    return [row["distance"] * 0.1 + row["hour"] for row in rows]


def serving(rows: list[Row]) -> list[float]:
    """The champion: a little worse."""
    return [value + 0.4 for value in own(rows)]


@dataclass
class World:
    """A candidate with everything around it, all of it good."""

    seed: int = 1
    endpoint: Model = own
    offline: Model = own
    champion: Model = serving
    requests: list[dict[str, Any]] = field(default_factory=list)
    holdout: list[Row] = field(default_factory=list)
    training: list[Row] = field(default_factory=list)
    champions_training: list[Row] | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=lambda: {"license": "MIT", "owner": "flights"})
    advisory: dict[str, Any] = field(default_factory=lambda: advisory(fixed="1.8.0"))
    failure: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        draw = random.Random(self.seed)

        def row(number: int) -> Row:
            origin, distance, hour = draw.choice(["EWR", "JFK", "LGA"]), round(draw.uniform(100, 3000), 1), draw.randint(5, 22)
            return {"day": f"2026-01-0{1 + number % 4}", "flight": number, "origin": origin, "distance": distance, "hour": hour,
                    "minutes": round(distance * 0.1 + hour + draw.gauss(0, 2), 3)}

        self.holdout, self.training = [row(number) for number in range(600)], [row(number) for number in range(1000, 1600)]
        self.requests = [{"input_data": {
            "columns": list(COLUMNS), "data": [[r[name] for name in COLUMNS] for r in self.holdout[at:at + 3]]}} for at in (0, 3, 6)]
        self.files = {"MLmodel": mlmodel(SIGNATURE), "model.pkl": pickle.dumps({"weights": [0.1, 1.0]}),
                      "requirements.txt": b"scikit-learn==1.8.0\nnumpy==2.4.1\n"}

    def trial(self) -> FakeTrial:
        def table(rows: list[Row]) -> list[tuple[str, bytes]]:
            return [("rows.jsonl", "\n".join(map(json.dumps, rows)).encode())]

        requests = "\n".join(map(json.dumps, self.requests)).encode()
        return FakeTrial(
            candidate=self.endpoint, champion_model=self.champion, artifact_files=self.files, tags=self.tags, environment="azureml:env:1",
            trained_on=table(self.training), champion_trained_on=table(self.champions_training or self.training), assets={
                SAMPLES: [("requests.jsonl", requests)], HOLDOUT: table(self.holdout), CONTRACT: [("contract.yaml", RULES)],
                TRAINING: table(self.training), OSV: [("osv.json", json.dumps(self.advisory).encode())]})

    def job(self) -> JobOutcome:
        """What the offline program writes about this model."""
        if self.failure is not None:
            return JobOutcome(name="j", status="Completed", files=[("failure.json", json.dumps(self.failure).encode())])
        lines = []
        for number, request in enumerate(self.requests, start=1):
            given = request["input_data"]
            predictions = self.offline([dict(zip(given["columns"], row, strict=True)) for row in given["data"]])
            lines.append(json.dumps({"request": number, "predictions": predictions}))
        summary = {"versions": {}, "rows": 9, "reads_by_place": False}
        return JobOutcome(name="j", status="Completed", files=[("predictions.jsonl", "\n".join(lines).encode()),
                                                               ("summary.json", json.dumps(summary).encode())])

    def judged(self) -> dict[str, GateResult]:
        trial, found = self.trial(), {}
        for kind, written in GATES.items():
            gate, spec = find(kind, written)
            result = gate.begin(trial, spec)
            found[kind] = gate.finish(trial, spec, self.job()) if isinstance(result, GateJob) else result
        return found


def stopped(found: dict[str, GateResult]) -> dict[str, str]:
    return {kind: result.outcome.value for kind, result in found.items() if result.outcome is not GateOutcome.PASSED}


Fault = Callable[[World], None]
FAULTS: dict[str, tuple[Fault, dict[str, str], str]] = {}


def fault(expected: str, says: str) -> Callable[[Fault], Fault]:
    """`expected`: gates that fail; one with `?` is Inconclusive. `says`: what one of their messages holds."""

    def note(function: Fault) -> Fault:
        outcomes = {name.rstrip("?"): "inconclusive" if name.endswith("?") else "failed" for name in expected.split()}
        FAULTS[function.__name__] = function, outcomes, says
        return function

    return note


def _rows(world: World) -> list[list[Any]]:
    return world.requests[0]["input_data"]["data"]


# --- requests and answers -----------------------------------------------------------------------------


@fault("contract", "another order than the model's signature")
def reordered_columns(world: World) -> None:
    """Every status is 200."""
    for request in world.requests:
        request["input_data"]["columns"] = COLUMNS[::-1]
        request["input_data"]["data"] = [row[::-1] for row in request["input_data"]["data"]]


@fault("contract", "hour is a fraction; the signature says long")
def swapped_types(world: World) -> None:
    _rows(world)[0][2] = 7.5


@fault("contract", "tail is not in the signature")
def an_extra_column(world: World) -> None:
    world.requests[1]["input_data"]["columns"] = [*COLUMNS, "tail"]
    world.requests[1]["input_data"]["data"] = [[*row, "N1"] for row in world.requests[1]["input_data"]["data"]]


@fault("smoke contract", "hour is missing")
def a_missing_column(world: World) -> None:
    def strict(rows: list[Row]) -> list[float]:
        if "hour" not in rows[0]:
            raise Refused(400, "Model is missing inputs ['hour']")
        return own(rows)

    world.endpoint = strict
    world.requests[2]["input_data"] = {"columns": COLUMNS[:2], "data": [[*row[:2]] for row in world.requests[2]["input_data"]["data"]]}


@fault("contract", "origin is null, and the signature requires it")
def a_null_in_a_required_column(world: World) -> None:
    _rows(world)[1][0] = None


@fault("contract?", "the model has no signature")
def no_signature(world: World) -> None:
    world.files["MLmodel"] = b"flavors: {}\n"


@fault("contract", "answers otherwise than the model itself")
def another_model_behind_the_endpoint(world: World) -> None:
    """A little off: within every limit of quality, and not what was tested."""
    world.endpoint = lambda rows: [value + 0.2 for value in own(rows)]


@fault("contract", "answers otherwise than the model itself")
def answers_in_another_order(world: World) -> None:
    world.endpoint = lambda rows: own(rows)[::-1] if len(rows) < 10 else own(rows)


@fault("smoke contract", "was answered 413")
def an_oversize_payload(world: World) -> None:
    def limited(rows: list[Row]) -> list[float]:
        if len(rows) == 3:
            raise Refused(413, "Request Entity Too Large")
        return own(rows)

    world.endpoint = limited


@fault("smoke contract metric champion responsible_ai", "was answered 424")
def a_model_that_raises(world: World) -> None:
    def raises(rows: list[Row]) -> list[float]:
        raise Refused(424, "Model Error")

    world.endpoint = raises


@fault("smoke contract", "answered otherwise when it was sent again")
def a_model_that_is_not_deterministic(world: World) -> None:
    draw = random.Random(3)
    world.endpoint = lambda rows: [value + draw.gauss(0, 0.01) for value in own(rows)]


@fault("smoke contract metric champion responsible_ai", "null, NaN or infinite")
def nan_output(world: World) -> None:
    world.endpoint = lambda rows: [float("nan") for _ in rows]


@fault("smoke contract metric champion responsible_ai", "3 rows but 2 predictions")
def a_prediction_too_few(world: World) -> None:
    world.endpoint = lambda rows: own(rows)[1:]


# --- the artifact ---------------------------------------------------------------------------------------


@fault("contract", "the model could not be loaded: ModuleNotFoundError")
def the_wrong_environment(world: World) -> None:
    world.failure = {"phase": "be loaded", "error": "ModuleNotFoundError: No module named 'xgboost'", "versions": {}}


@fault("security contract", "model.pkl is damaged")
def a_truncated_artifact(world: World) -> None:
    world.files["model.pkl"] = world.files["model.pkl"][:20]
    world.failure = {"phase": "be loaded", "error": "EOFError: Ran out of input", "versions": {}}


@fault("security", "imports posix.system, which is dangerous")
def a_poisoned_pickle(world: World) -> None:
    import os

    world.files["model.pkl"] = pickle.dumps(Evil(os.system, "true"))


@fault("security", "numpy>=2 is not pinned")
def an_unpinned_dependency(world: World) -> None:
    world.files["requirements.txt"] = b"scikit-learn==1.8.0\nnumpy>=2\n"


@fault("security", "has PYSEC-1 (high), mended in 1.8.1")
def a_known_vulnerability(world: World) -> None:
    world.advisory = advisory(fixed="1.8.1")


@fault("security", "the licence GPL-3.0-only is none of MIT")
def a_licence_that_is_not_allowed(world: World) -> None:
    world.tags["license"] = "GPL-3.0-only"


@fault("security", "the model carries no owner")
def a_card_without_an_owner(world: World) -> None:
    del world.tags["owner"]


# --- quality ------------------------------------------------------------------------------------------


@fault("metric champion", "is over the limit 4")
def hours_instead_of_minutes(world: World) -> None:
    world.endpoint = world.offline = lambda rows: [value / 60 for value in own(rows)]


@fault("metric champion", "it answers every row alike")
def constant_output(world: World) -> None:
    world.endpoint = world.offline = lambda rows: [160.0 for _ in rows]


@fault("champion", "worse by")
def clearly_worse_than_what_serves(world: World) -> None:
    """Within its own limit: only a comparison tells."""
    world.champion = own
    world.endpoint = world.offline = lambda rows: [value + 3 for value in own(rows)]


@fault("champion", "was trained on 600 of the holdout's 600 rows")
def a_champion_that_was_trained_on_the_holdout(world: World) -> None:
    world.champions_training = world.holdout


@fault("data_quality champion", "600")
def a_leaky_split(world: World) -> None:
    world.training = [*world.training, *world.holdout]
    world.champions_training = [dict(row, flight=row["flight"] + 10_000, distance=row["distance"] + 0.5) for row in world.training[:600]]


@fault("responsible_ai", "origin=LGA")
def a_biased_cohort(world: World) -> None:
    world.endpoint = world.offline = lambda rows: [
        value + (3.6 if row["origin"] == "LGA" else 0) for row, value in zip(rows, own(rows), strict=True)]
    world.champion = world.endpoint


# --- the data -----------------------------------------------------------------------------------------


@fault("data_quality", "distance")
def values_out_of_range(world: World) -> None:
    for row in world.holdout[:12]:
        row["distance"] = -row["distance"]
    world.endpoint = world.offline = lambda rows: [abs(row["distance"]) * 0.1 + row["hour"] for row in rows]
    world.champion = world.endpoint


@fault("data_quality", "origin")
def an_unknown_category(world: World) -> None:
    for row in world.holdout[:9]:
        row["origin"] = "XXX"


@fault("data_quality", "hour")
def nulls_where_none_are_allowed(world: World) -> None:
    for row in world.holdout[20:25]:
        row["hour"] = None
    world.endpoint = world.offline = lambda rows: [row["distance"] * 0.1 + (row["hour"] or 13) for row in rows]
    world.champion = world.endpoint


@fault("data_quality", "day")
def stale_data(world: World) -> None:
    for row in world.holdout:
        row["day"] = row["day"].replace("2026", "2024")


@fault("data_quality", "day")
def duplicated_rows(world: World) -> None:
    world.holdout += [dict(row) for row in world.holdout[:5]]


@fault("data_quality", "gate")
def a_column_that_nobody_promised(world: World) -> None:
    for row in world.holdout:
        row["gate"] = "A1"


@pytest.mark.parametrize("name", list(FAULTS))
def test_each_fault_is_caught_by_exactly_the_gates_that_should(name: str) -> None:
    function, expected, says = FAULTS[name]
    world = World()
    function(world)
    found = world.judged()
    assert stopped(found) == expected, {kind: found[kind].message for kind in stopped(found)}
    assert any(says in found[kind].message for kind in expected), {kind: found[kind].message for kind in expected}


def test_the_catalogue_is_long() -> None:
    assert len(FAULTS) >= 25


def test_a_tiny_cohort_decides_nothing_and_is_told() -> None:
    world = World()
    for row in world.holdout[:8]:
        row["origin"], row["minutes"] = "TTN", row["minutes"] + 50
    found = world.judged()
    assert "responsible_ai" not in stopped(found)
    assert "TTN" in json.dumps(found["responsible_ai"].evidence)


def test_a_stale_champion_is_not_compared_with() -> None:
    """The newest registered version would be easier to beat; what serves is what counts."""
    world = World(champion=own)
    world.endpoint = world.offline = lambda rows: [value + 2.5 for value in own(rows)]
    assert stopped(world.judged()) == {"champion": "failed"}


def test_too_little_data_decides_nothing() -> None:
    world = World()
    world.holdout = world.holdout[:90]
    assert set(stopped(world.judged())) >= {"metric", "champion"}
    assert set(stopped(world.judged()).values()) <= {"inconclusive", "failed"}


def test_data_beyond_the_limit_is_not_guessed_at() -> None:
    world = World()
    trial = world.trial()
    trial.limit = 1000
    gate, spec = find("metric", GATES["metric"])
    with pytest.raises(TooLarge):
        gate.begin(trial, spec)


@pytest.mark.parametrize("seed", range(12))
def test_good_models_pass_every_gate(seed: int) -> None:
    """The control group: other draws of the same good world."""
    assert stopped(World(seed=100 + seed).judged()) == {}
