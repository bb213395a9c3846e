"""The responsible_ai gate: unequal errors and decisions are told from noise, and small cohorts decide nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pilotage.domain.gate_specs import ResponsibleAiGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput
from pilotage.gates.responsible_ai import ResponsibleAi
from tests.support.trial import FakeTrial, Model, Refused, Row

HOLDOUT = "azureml:holdout@latest"
SIZES = {"north": 200, "south": 150, "west": 120}


def regression(sizes: Mapping[str, int] = SIZES, seed: int = 1) -> list[Row]:
    draw = random.Random(seed)
    return [{"x": (x := round(draw.gauss(10, 3), 4)), "region": region, "sex": draw.choice("fm"), "y": round(3 * x + draw.gauss(0, 1), 4)}
            for region, size in sizes.items() for _ in range(size)]


def classes(sizes: Mapping[str, int] = SIZES, seed: int = 1, labels: tuple[Any, Any] = ("no", "yes")) -> list[Row]:
    """Half of each region has each label; `x` tells it nearly always."""
    draw = random.Random(seed)
    return [{"x": at % 2 if draw.random() > 0.15 else 1 - at % 2, "u": round(draw.random(), 4), "region": region, "sex": draw.choice("fm"),
             "y": labels[at % 2]} for region, size in sizes.items() for at in range(size)]


def csv(rows: list[Row]) -> list[tuple[str, bytes]]:
    return [("h.csv", "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]).encode())]


def spec(**given: Any) -> ResponsibleAiGate:
    return ResponsibleAiGate.model_validate({"sensitive": ["region"], "metric": "mae", "holdout": HOLDOUT, "target": "y"} | given)


def judged(rows: list[Row], model: Model, **given: Any) -> GateResult:
    result = ResponsibleAi().begin(FakeTrial(candidate=model, assets={HOLDOUT: csv(rows)}), spec(**given))
    assert len(json.dumps(result.model_dump(mode="json", exclude={"figures"}))) < 6_000
    json.dumps(result.model_dump(mode="json"), allow_nan=False)
    return result


def line(bias: Callable[[Row], float] = lambda row: 0.0) -> Model:
    return lambda rows: [3 * row["x"] + bias(row) for row in rows]


def said(decide: Callable[[Row], bool], labels: tuple[Any, Any] = ("no", "yes")) -> Model:
    return lambda rows: [labels[decide(row)] for row in rows]


@pytest.mark.parametrize("limit", [{"max_ratio": 1.25}, {"max_difference": 0.4}])
@pytest.mark.parametrize(("sizes", "bias", "outcome", "words"), [
    (SIZES, 0, GateOutcome.PASSED, "comparisons of 3 cohorts by region are within their limits on 470 rows"),
    (SIZES, 2, GateOutcome.FAILED, "the mae of region=west"),
    (SIZES | {"west": 20}, 2, GateOutcome.PASSED, "1 cohorts under 50 rows are only reported"),
    ({"north": 49, "south": 20, "west": 9}, 9, GateOutcome.INCONCLUSIVE, "none of 3 cohorts by region has 50 rows"),
    ({"north": 600, "west": 9}, 9, GateOutcome.INCONCLUSIVE, "region has 1 cohorts of 50 rows or more (of 2)"),
    (SIZES | {"west": 50}, 1.05, GateOutcome.INCONCLUSIVE, "can't decide"),
])
def test_errors_of_cohorts(limit: dict[str, Any], sizes: dict[str, int], bias: float, outcome: GateOutcome, words: str) -> None:
    result = judged(regression(sizes), line(lambda row: bias if row["region"] == "west" else 0), **limit)
    assert result.outcome is outcome, result.message
    assert words in result.message
    assert result.gate == "responsible_ai"


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_a_fair_regression_passes_by_all_metrics(metric: str) -> None:
    assert judged(regression(), line(), metric=metric, max_ratio=1.25).outcome is GateOutcome.PASSED


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1_macro"])
@pytest.mark.parametrize(("model", "outcome"), [
    (said(lambda row: row["x"] == 1), GateOutcome.PASSED),
    (said(lambda row: row["u"] > 0.5 if row["region"] == "west" else row["x"] == 1), GateOutcome.FAILED),
])
def test_errors_of_classes(metric: str, model: Model, outcome: GateOutcome) -> None:
    result = judged(classes({"north": 800, "south": 600, "west": 400}), model, metric=metric, max_ratio=1.4)
    assert result.outcome is outcome, result.message
    assert f"error (1 - {metric})" in result.message


def test_unequal_decisions_are_caught_although_errors_are_equal() -> None:
    """In the west one label in four is wrongly yes, in the north as many are wrongly no."""
    def decide(row: Row) -> bool:
        truth = row["x"] == 1
        if row["u"] < 0.5:
            return row["region"] == "west" or (truth and row["region"] != "north")
        return truth
    rows = [row | {"x": int(row["y"] == "yes")} for row in classes({"north": 400, "west": 400})]
    by_error = judged(rows, said(decide), metric="accuracy", max_ratio=1.25)
    assert by_error.outcome is GateOutcome.PASSED, by_error.message
    for measure, limit in [("demographic_parity_difference", 0.2), ("demographic_parity_ratio", 0.8), ("equalized_odds_difference", 0.2),
                           ("equalized_odds_ratio", 0.8), ("equal_opportunity_difference", 0.2)]:
        fairness = [{"measure": measure, "limit": limit, "favourable": "yes"}]
        result = judged(rows, said(decide), metric="accuracy", max_ratio=1.25, fairness=fairness)
        assert result.outcome is GateOutcome.FAILED, measure
        assert f"{measure} by region, the " in result.message
        fair = judged(rows, said(lambda row: row["x"] == 1), metric="accuracy", fairness=fairness)
        assert fair.outcome is GateOutcome.PASSED, fair.message
        assert fair.evidence["fairness"][measure]["region"] == (1.0 if "ratio" in measure and "odds" not in measure else
                                                               fair.evidence["fairness"][measure]["region"])


def test_the_value_of_a_measure_is_that_of_fairlearn() -> None:
    result = judged(classes(), said(lambda row: row["region"] != "west" and row["x"] == 1), metric="accuracy",
                    fairness=[{"measure": "demographic_parity_difference", "limit": 0.2, "favourable": "yes"}])
    assert result.evidence["fairness"]["demographic_parity_difference"]["region"] == pytest.approx(result.evidence["worst"][0]["value"])
    assert any("Rates of yes by region" in figure.title for figure in result.figures)


@pytest.mark.parametrize(("labels", "favourable"), [
    ((0, 1), 1), ((0, 1), "1"), (("no", "yes"), "yes"), ((2, 3.0), 3), (("False", "True"), True)])
def test_labels_are_compared_as_predictions_are(labels: tuple[Any, Any], favourable: Any) -> None:
    result = judged(classes(labels=labels), said(lambda row: row["x"] == 1, labels), metric="accuracy",
                    fairness=[{"measure": "demographic_parity_difference", "limit": 0.5, "favourable": favourable}])
    assert result.outcome is GateOutcome.PASSED


def test_missing_values_are_a_cohort() -> None:
    rows = [row | {"region": "" if row["region"] == "west" else row["region"]} for row in regression()]
    result = judged(rows, line(lambda row: 2 if row["region"] is None else 0), max_ratio=1.25)
    assert result.outcome is GateOutcome.FAILED
    assert "region=(missing)" in result.message


def test_two_columns_together_are_reported_and_decide_nothing() -> None:
    result = judged(regression({"north": 400, "west": 400}), line(lambda row: 3 if row["region"] == "west" and row["sex"] == "f" else
                                                                   3 if row["region"] == "north" and row["sex"] == "m" else 0),
                    sensitive=["region", "sex"], max_ratio=1.25)
    assert result.outcome is GateOutcome.PASSED
    crossed = result.evidence["intersections"]["region x sex"]
    assert list(crossed["worst"])[:2] in (["west x f", "north x m"], ["north x m", "west x f"])
    assert [figure.title for figure in result.figures] == ["mae by region", "mae by sex", "mae by region and sex (decides nothing)"]


def test_the_figure_has_every_cohort_with_the_limit_as_mark() -> None:
    result = judged(regression(SIZES | {"east": 5}), line(), max_ratio=1.5)
    (figure,) = result.figures
    assert figure.kind == "intervals"
    assert {row.label: row.note for row in figure.rows} == {
        "north": "200 rows", "south": "150 rows", "west": "120 rows", "east": "5 rows, too few to decide"}
    assert figure.marks["limit"] == pytest.approx(1.5 * figure.marks["all rows"])
    assert all(row.low <= row.value <= row.high for row in figure.rows)


def test_equal_inputs_give_equal_results() -> None:
    given: dict[str, Any] = {"metric": "accuracy", "max_ratio": 1.25, "max_difference": 0.1,
                             "fairness": [{"measure": "equalized_odds_difference", "limit": 0.3, "favourable": "yes"}]}
    assert judged(classes(), said(lambda row: row["x"] == 1), **given) == judged(classes(), said(lambda row: row["x"] == 1), **given)


def test_evidence_stays_small_with_many_columns() -> None:
    draw = random.Random(3)
    names = [f"sensitive_column_with_a_long_name_{letter}" for letter in "abcd"]
    rows = [{name: f"a value of some length {draw.randrange(8)}" for name in names} | row for row in classes({"north": 1500})]
    judged(rows, said(lambda row: row["x"] == 1), sensitive=names, metric="accuracy", max_ratio=1.1, max_difference=0.01,
           fairness=[{"measure": measure, "limit": 0.01, "favourable": "yes"}
                     for measure in ("demographic_parity_difference", "equalized_odds_difference", "equal_opportunity_difference")])


def test_answers_in_other_words_than_the_labels_fail() -> None:
    """Always wrong is equally wrong for everybody, and never favourable too: no comparison would see it."""
    result = judged(classes(), lambda rows: [row["x"] for row in rows], metric="accuracy", max_ratio=1.25,
                    fairness=[{"measure": "demographic_parity_difference", "limit": 0.1, "favourable": "yes"}])
    assert result.outcome is GateOutcome.FAILED
    assert "none of the 470 predictions is a label that the holdout has in y" in result.message


def with_signature(*inputs: dict[str, Any]) -> dict[str, bytes]:
    return {"model/MLmodel": ("signature:\n  inputs: '" + json.dumps(inputs) + "'\n").encode()}


@pytest.mark.parametrize(("files", "sent", "not_sent"), [
    ({}, ["x", "region", "sex"], []),
    (with_signature({"name": "x", "type": "double"}), ["x"], ["region", "sex"]),
    (with_signature({"name": "sex", "type": "string"}, {"name": "new", "type": "string", "required": False},
                    {"name": "x", "type": "double"}), ["sex", "x"], ["region"]),
])
def test_a_model_is_sent_what_it_was_trained_on(files: dict[str, bytes], sent: list[str], not_sent: list[str]) -> None:
    trial = FakeTrial(candidate=line(), assets={HOLDOUT: csv(regression())}, artifact_files=files)
    result = ResponsibleAi().begin(trial, spec(sensitive=["region", "sex"], max_ratio=1.25))
    assert result.outcome is GateOutcome.PASSED
    assert {tuple(json.loads(body)["input_data"]["columns"]) for body, _ in trial.asked} == {tuple(sent)}
    assert result.evidence["not_sent"] == not_sent


def test_a_tensor_model_is_sent_numbers_without_names() -> None:
    files = with_signature({"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 1]}})
    by_name = line()
    trial = FakeTrial(candidate=lambda rows: by_name([{"x": row["value"][0]} for row in rows]), assets={HOLDOUT: csv(regression())},
                      artifact_files=files)
    result = ResponsibleAi().begin(trial, spec(sensitive=["region", "sex"], max_ratio=1.25))
    assert result.outcome is GateOutcome.PASSED
    assert all(isinstance(row, list) and len(row) == 1 for body, _ in trial.asked for row in json.loads(body)["input_data"])
    assert result.evidence["not_sent"] == ["region", "sex"]


def test_a_holdout_without_a_column_of_the_signature_is_refused() -> None:
    trial = FakeTrial(assets={HOLDOUT: csv(regression())}, artifact_files=with_signature({"name": "weight", "type": "double"}))
    with pytest.raises(InvalidInput, match="has no column weight, which the model's signature requires"):
        ResponsibleAi().begin(trial, spec(max_ratio=1.25))


def refusing(rows: list[Row]) -> list[float]:
    raise Refused(424, "the model raised")


@pytest.mark.parametrize(("model", "words"), [
    (refusing, "were answered 424"), (lambda rows: [None] * len(rows), "null, NaN or infinite"), (lambda rows: [1.0], "with 1 predictions"),
    (lambda rows: ["much"] * len(rows), "not numbers"),
])
def test_a_model_that_does_not_answer_fails(model: Model, words: str) -> None:
    result = judged(regression(), model, max_ratio=1.25)
    assert result.outcome is GateOutcome.FAILED
    assert words in result.message


@pytest.mark.parametrize(("given", "words"), [
    ({"sensitive": ["regoin"], "max_ratio": 2}, "has no column regoin .it has x, u, region, sex, y.: mend the gate's sensitive"),
    ({"sensitive": ["y"], "max_ratio": 2}, "y is the label"),
    ({"target": "label", "max_ratio": 2}, "has no column 'label'"),
    ({"sensitive": ["u"], "max_ratio": 2}, "u has 4.. different values .*the limit is 50: bin it"),
    ({"fairness": [{"measure": "demographic_parity_ratio", "limit": 0.8, "favourable": "Yes"}]},
     "no row of the holdout .* has the label 'Yes'"),
])
def test_a_holdout_that_does_not_fit_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        judged(classes(), said(lambda row: row["x"] == 1), **({"metric": "accuracy"} | given))
