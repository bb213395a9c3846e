"""The data_quality gate: each fault by itself, all findings at once, and leaks that are no chance."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from pilotage.domain.gate_specs import DataQualityGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput, TooLarge
from pilotage.gates.data_quality import DataQuality
from tests.support.trial import FakeTrial, Row

DATA, CONTRACT, TRAINING = "azureml:holdout@latest", "azureml:contract@latest", "azureml:training@latest"
RULES = """\
version: 1
rows: {min: 150, max: 2500}
unique: [[flight]]
columns:
  flight: {type: text, pattern: "[A-Z]{2}[0-9]{1,5}"}
  distance: {type: number, min: 0, max: 10000}
  seats: {type: integer, max_null_share: 0.1}
  origin: {type: text, categories: [EWR, JFK, LGA]}
  day: {type: date}
  note: {required: false, max_null_share: 1}
"""


def made(rows: int, seed: int = 1, start: int = 0) -> list[Row]:
    draw = random.Random(seed)
    return [{"flight": f"UA{start + at}", "distance": round(draw.uniform(80, 5000), 3), "seats": draw.randint(50, 300),
             "origin": draw.choice(["EWR", "JFK", "LGA"]), "day": f"2026-01-0{draw.randint(1, 4)}"} for at in range(rows)]


def csv(rows: list[Row]) -> list[tuple[str, bytes]]:
    return [("rows.csv", "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]).encode())]


def judged(rows: list[Row], rules: str | None = RULES, training: list[Row] | None = None, **given: Any) -> GateResult:
    assets = {DATA: csv(rows)}
    named: dict[str, Any] = {"data_asset": DATA}
    if rules is not None:
        assets[CONTRACT], named["contract"] = [("contract.yaml", rules.encode())], CONTRACT
    if training is not None:
        assets[TRAINING], named["training"] = csv(training), TRAINING
    result = DataQuality().begin(FakeTrial(assets=assets), DataQualityGate.model_validate(named | given))
    text = json.dumps(result.model_dump(mode="json", exclude={"figures"}), allow_nan=False)
    assert len(text) < 6_000
    return result


def changed(column: str, value: Any, count: int = 12, of: int = 200) -> list[Row]:
    return [row | {column: value} if at < count else row for at, row in enumerate(made(of))]


def test_good_data_passes() -> None:
    result = judged(made(200), training=made(1000, seed=2, start=5000), freshness={"column": "day", "max_age": "P3D"})
    assert result.outcome is GateOutcome.PASSED, result.message
    assert "the contract of 6 columns is kept and the newest row is within 3 days and no more training rows" in result.message
    assert sorted(result.inputs) == ["contract", "data", "training"]
    assert [figure.title for figure in result.figures] == ["Missing values by column", "Drift of inputs from training to this data"]


@pytest.mark.parametrize(("rows", "words", "rule"), [
    (changed("distance", -1), "column distance: 12 of 200 values are under 0", "min 0"),
    (changed("distance", 10001, 1), "column distance: 1 of 200 values are over 10000", "max 10000"),
    (changed("distance", "far"), "column distance: 12 of 200 values are not numbers", "type number"),
    (changed("distance", ""), "column distance: 12 of 200 values are missing", "max_null_share"),
    (changed("seats", "", 21), "column seats: 21 of 200 values are missing, over the 0.1", "max_null_share"),
    (changed("seats", 1.5), "column seats: 12 of 200 values are not whole numbers", "type integer"),
    (changed("origin", "ewr"), "column origin: 12 of 200 values are none of EWR, JFK, LGA", "categories"),
    (changed("origin", 7), "column origin: 12 of 200 values are not text", "type text"),
    (changed("day", "01/02/2026"), "column day: 12 of 200 values are not dates (ISO 8601)", "type date"),
    (changed("flight", "UA7", 2), "key flight: 2 of 200 rows repeat another one", "unique flight"),
    (changed("flight", "ua-1", 1), "column flight: 1 of 200 values do not match [A-Z]{2}[0-9]{1,5}", "pattern [A-Z]{2}[0-9]{1,5}"),
    (changed("flight", "UA" + "1" * 300, 1), "do not match", "pattern [A-Z]{2}[0-9]{1,5}"),
    ([{key: value for key, value in row.items() if key != "origin"} for row in made(200)], "column origin is missing", "required"),
    ([row | {"surprise": 1} for row in made(200)], "column surprise is not in the contract", "unknown"),
    (made(149), "149 rows; the contract asks for at least 150 and at most 2500", "rows"),
    (made(2501), "2501 rows; the contract asks for", "rows"),
])
def test_each_broken_rule_is_told(rows: list[Row], words: str, rule: str) -> None:
    result = judged(rows)
    assert result.outcome is GateOutcome.FAILED
    assert words in result.message
    assert rule in [found["rule"] for found in result.evidence["findings"]]


def test_missing_values_within_their_share_are_no_finding() -> None:
    assert judged(changed("seats", "", 20)).outcome is GateOutcome.PASSED


def test_swapped_columns_are_caught() -> None:
    """The header says distance, origin; the cells are origin, distance."""
    rows = [row | {"distance": row["origin"], "origin": row["distance"]} for row in made(200)]
    assert "column distance: 200 of 200 values are not numbers" in judged(rows).message


def test_all_findings_are_told_the_worst_first() -> None:
    rows = [{key: value for key, value in row.items() if key != "seats"} | {"distance": -1, "extra": 2}
            for row in changed("origin", "X", 3)]
    result = judged(rows)
    assert result.message == ("column extra is not in the contract; column seats is missing; column distance: 200 of 200 values are "
                              "under 0; and 1 more broken rules")
    assert result.evidence["findings"] == [
        {"column": "extra", "rule": "unknown", "count": 1}, {"column": "seats", "rule": "required", "count": 1},
        {"column": "distance", "rule": "min 0", "count": 200}, {"column": "origin", "rule": "categories", "count": 3}]


def test_at_most_twenty_findings_and_no_values_in_the_evidence() -> None:
    rows = [row | {f"secret_{at}": "Jane Doe" for at in range(60)} | {"origin": "Jane Doe"} for row in made(200)]
    result = judged(rows)
    assert (len(result.evidence["findings"]), result.evidence["broken_rules"]) == (20, 61)
    assert "Jane" not in result.model_dump_json()


def test_few_rows_hold_and_a_broken_rule_fails_even_so() -> None:
    assert judged(made(99), None).outcome is GateOutcome.INCONCLUSIVE
    assert judged(made(99), None).message == "99 rows; the policy asks for 100 or more"
    assert judged(changed("distance", -1, 1, of=160), min_rows=500).outcome is GateOutcome.FAILED


def test_the_environment_cannot_switch_the_rules_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandera.config

    monkeypatch.setattr(pandera.config.CONFIG, "validation_enabled", False)
    monkeypatch.setattr(pandera.config.CONFIG, "validation_depth", pandera.config.ValidationDepth.SCHEMA_ONLY)
    assert judged(changed("distance", -1)).outcome is GateOutcome.FAILED


@pytest.mark.parametrize(("day", "count", "outcome", "words"), [
    ("2026-01-05T11:00:00Z", 1, GateOutcome.PASSED, "within 1 days"),
    ("2026-01-05T23:30:00+14:00", 1, GateOutcome.PASSED, "within 1 days"),
    ("2026-01-04", 200, GateOutcome.FAILED, "the newest row is 1.5 days old by column day; the policy allows 1 days"),
    ("2031-01-01", 1, GateOutcome.FAILED, "column day: 1 of 200 dates are in the future"),
    ("yesterday", 200, GateOutcome.FAILED, "column day has no date that tells how fresh the data is"),
    ("", 200, GateOutcome.FAILED, "column day has no date"),
])
def test_freshness(day: str, count: int, outcome: GateOutcome, words: str) -> None:
    rows = [row | {"day": "2026-01-04"} for row in changed("day", day, count)]
    rows = [row | ({"day": day} if at < count else {}) for at, row in enumerate(rows)]
    result = judged(rows, None, freshness={"column": "day", "max_age": "P1D"})
    assert result.outcome is outcome, result.message
    assert words in result.message


def test_freshness_of_an_unknown_column_is_the_policys_mistake() -> None:
    with pytest.raises(InvalidInput, match=r"freshness.column: .* has no column date .it has flight, .*: mend the policy"):
        judged(made(200), None, freshness={"column": "date", "max_age": "P1D"})
    gone = [{key: value for key, value in row.items() if key != "day"} for row in made(200)]
    assert "column day is missing" in judged(gone, freshness={"column": "day", "max_age": "P1D"}).message


TRAINED = made(1000, seed=2, start=5000)


@pytest.mark.parametrize(("leaked", "given", "outcome", "words"), [
    (TRAINED[:7], {}, GateOutcome.FAILED, "7 of 207 rows are in the training data"),
    (TRAINED[:2], {"max_exact_overlap": 0.01}, GateOutcome.PASSED, ""),
    ([row | {"distance": row["distance"] + 0.01} for row in TRAINED[:7]], {}, GateOutcome.FAILED, "of 207 rows nearly equal"),
    ([row | {"distance": row["distance"] + 0.01} for row in TRAINED[:7]], {"max_near_overlap": 0.05}, GateOutcome.PASSED, ""),
    ([row | {"distance": 1.0} for row in TRAINED[:7]], {"key": ["flight"]}, GateOutcome.FAILED, "7 of 207 rows are in the training data"),
    ([row | {"flight": f"XX{at}"} for at, row in enumerate(TRAINED[:7])], {"key": ["flight"]}, GateOutcome.FAILED, "of 207 rows nearly"),
    ([], {"key": ["flight"]}, GateOutcome.PASSED, ""),
])
def test_leaks_of_training_rows(leaked: list[Row], given: dict[str, Any], outcome: GateOutcome, words: str) -> None:
    result = judged(made(200) + leaked, training=TRAINED, **given)
    assert result.outcome is outcome, result.message
    assert words in result.message


def test_a_key_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="key: id not in both tables"):
        judged(made(200), training=TRAINED, key=["id"])


def dense(rows: int, seed: int) -> list[Row]:
    draw = random.Random(seed)
    return [{"x": round(draw.gauss(0, 1), 6)} for _ in range(rows)]


def test_rows_that_lie_densely_are_no_leak_and_a_leak_among_them_is() -> None:
    """One number: most unseen rows have a near training row by chance."""
    result = judged(dense(300, 1), None, dense(2000, 2))
    assert result.evidence["overlap"]["near"] > 0.3 * 300
    assert result.outcome is GateOutcome.PASSED
    leaked = [{"x": row["x"] + 2e-6} for row in dense(2000, 2)[:300]]
    assert judged(leaked, None, dense(2000, 2)).outcome is GateOutcome.FAILED
    doubled = [{"x": round(row["x"] + wobble, 8)} for row in dense(400, 3) for wobble in (0, 1e-7)]
    wide = [{"x": row["x"] * 1e3, **{name: random.Random(f"{name}{row['x']}").random() for name in "abc"}} for row in doubled]
    assert judged(wide[::2][:200], None, [row | {"a": row["a"] + 1e-5} for row in wide], min_rows=10).outcome is GateOutcome.FAILED


def test_drift_is_evidence_only() -> None:
    result = judged([row | {"seats": row["seats"] + 200} for row in made(200)], training=TRAINED)
    assert result.outcome is GateOutcome.PASSED
    drifts = result.evidence["drift_psi"]
    assert drifts["seats"] > 0.25 > 0.1 > drifts["distance"]
    figure = result.figures[1]
    assert figure.kind == "intervals"
    assert figure.marks == {"slight": 0.1, "large": 0.25}
    assert all(row.low <= row.value <= row.high for row in figure.rows)


def test_json_lines_keep_their_types() -> None:
    lines = [json.dumps(row | {"tags": [1, {"a": None}], "ok": True}) for row in made(200)]
    rules = RULES + "  tags: {unique: false}\n  ok: {type: boolean, categories: [true]}\n"
    trial = FakeTrial(assets={DATA: [("rows.jsonl", "\n".join(lines).encode())], CONTRACT: [("c.yaml", rules.encode())]})
    spec = DataQualityGate.model_validate({"data_asset": DATA, "contract": CONTRACT})
    result = DataQuality().begin(trial, spec)
    assert result.outcome is GateOutcome.PASSED, result.message
    unique = rules.replace("unique: false", "unique: true")
    trial = FakeTrial(assets={DATA: [("rows.jsonl", "\n".join(lines).encode())], CONTRACT: [("c.yaml", unique.encode())]})
    assert DataQuality().begin(trial, spec).message == "column tags: 199 of 200 values repeat another one"


def test_a_column_that_is_there_twice_is_a_finding() -> None:
    trial = FakeTrial(assets={DATA: [("rows.csv", b"a,a\n" + b"1,2\n" * 100)], CONTRACT: [("c.yaml", b"version: 1\ncolumns: {a: {}}")]})
    result = DataQuality().begin(trial, DataQualityGate.model_validate({"data_asset": DATA, "contract": CONTRACT}))
    assert result.message == "column a is there 2 times"


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_hardly_any_rows_never_pass(rows: int) -> None:
    header = ("rows.csv", b"x,day\n" + b"1,2026-01-05\n" * rows)
    trial = FakeTrial(assets={DATA: [header], TRAINING: [header]})
    spec = DataQualityGate.model_validate({"data_asset": DATA, "training": TRAINING, "freshness": {"column": "day", "max_age": "P1D"}})
    assert DataQuality().begin(trial, spec).outcome is not GateOutcome.PASSED


def test_too_large_data_passes_through() -> None:
    trial = FakeTrial(assets={DATA: csv(made(200))}, limit=100, moment=datetime(2026, 1, 5, tzinfo=UTC))
    with pytest.raises(TooLarge):
        DataQuality().begin(trial, DataQualityGate.model_validate({"data_asset": DATA}))


def test_what_only_the_training_data_has_does_not_hide_that_rows_are_dense() -> None:
    numbered = [row | {"id": at} for at, row in enumerate(dense(2000, 2))]
    assert judged(dense(300, 1), None, numbered).outcome is GateOutcome.PASSED
