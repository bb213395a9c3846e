"""The champion gate: what serves production against the candidate, with the faults that must not slip through."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from pilotage.domain.gate_specs import ChampionGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput
from pilotage.gates.champion import Champion
from tests.support.trial import FakeTrial, Model, Refused, Row

HOLDOUT = "azureml:holdout@latest"
TRAINING = "azureml:training@latest"


def made(rows: int, seed: int = 1) -> list[Row]:
    """Rows with a true value `y` near 3 * x, in two sites of equal size."""
    draw = random.Random(seed)
    return [{"x": (x := round(draw.gauss(10, 3), 4)), "site": "ab"[at % 2], "y": round(3 * x + draw.gauss(0, 1), 4)} for at in range(rows)]


def csv(rows: Sequence[Row]) -> list[tuple[str, bytes]]:
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    return [("rows.csv", "\n".join(lines).encode())]


def off_by(error: float, site: str = "ab", then: float = 0.0) -> Model:
    """A model that is wrong by some `error` at random, and by `then` in other sites."""
    def answer(rows: list[Row]) -> list[float]:
        return [3 * row["x"] + random.Random(f"{row['x']}{error}").gauss(0, error if row["site"] in site else then) for row in rows]
    return answer


def gate(**given: Any) -> ChampionGate:
    return ChampionGate.model_validate({"metric": "mae", "holdout": HOLDOUT, "target": "y", **given})


def judged(spec: ChampionGate, rows: Sequence[Row], **given: Any) -> GateResult:
    trial = FakeTrial(assets={HOLDOUT: csv(rows), TRAINING: csv(made(300, seed=9))}, artifact_files={"model.pkl": b"2"}, **given)
    result = Champion().begin(trial, spec)
    assert len(json.dumps(result.model_dump(mode="json", exclude={"figures"}))) < 6_000
    return result


@pytest.mark.parametrize(("candidate", "champion", "outcome", "words"), [
    (off_by(0.1), off_by(2), GateOutcome.PASSED, "better by"),
    (off_by(2), off_by(0.1), GateOutcome.FAILED, "worse by"),
    (off_by(0.5), off_by(0.52), GateOutcome.INCONCLUSIVE, "can't decide"),
    (lambda rows: [30.0] * len(rows), off_by(1), GateOutcome.FAILED, "answers every row alike"),
    (lambda rows: [float("nan"), *(3 * row["x"] for row in rows[1:])], off_by(1), GateOutcome.FAILED, "NaN"),
])
def test_the_interval_of_the_improvement_decides(candidate: Model, champion: Model, outcome: GateOutcome, words: str) -> None:
    result = judged(gate(), made(600), candidate=candidate, champion_model=champion)
    assert result.outcome is outcome
    assert words in result.message


def test_evidence_names_both_versions_the_effect_and_its_interval() -> None:
    result = judged(gate(), made(600), candidate=off_by(0.1), champion_model=off_by(2))
    told = result.evidence
    assert told["champion"] | {"version": "1", "deployment": "v1-aaaaaaaa", "traffic": 100} == told["champion"]
    assert told["champion"]["digest"] == result.inputs["champion"]
    assert told["improvement"]["value"] == pytest.approx(told["champion"]["value"] - told["challenger"]["value"], abs=1e-4)
    assert told["improvement"]["low"] < told["improvement"]["value"] < told["improvement"]["high"]
    assert "version 1, which serves 100 % of air-time" in result.message
    assert "95 % interval" in result.message
    assert [figure.kind for figure in result.figures] == ["intervals", "intervals"]


@pytest.mark.parametrize(("rules", "outcome"), [
    ({"max_regression": 0.3}, GateOutcome.PASSED),  # slightly worse, within the margin
    ({"max_regression": 0.001}, GateOutcome.INCONCLUSIVE),
    ({"min_effect": 0.5}, GateOutcome.FAILED),  # equal is not enough
    ({"inconclusive": "pass"}, GateOutcome.PASSED),
    ({"inconclusive": "fail"}, GateOutcome.FAILED),
    ({"min_rows": 601}, GateOutcome.INCONCLUSIVE),  # tiny holdout
])
def test_the_policy_says_what_a_slight_difference_means(rules: dict[str, Any], outcome: GateOutcome) -> None:
    assert judged(gate(**rules), made(600), candidate=off_by(0.52), champion_model=off_by(0.5)).outcome is outcome


@pytest.mark.parametrize("rule", ["pass", "fail", "inconclusive"])
def test_equal_answers_are_a_tie(rule: str) -> None:
    noisy: Model = lambda rows: [3 * row["x"] * (1 + 1e-13) for row in rows]  # noqa: E731 - the same model on another processor
    result = judged(gate(tie=rule), made(300), candidate=noisy, champion_model=lambda rows: [3 * row["x"] for row in rows])
    assert result.outcome == {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive"}[rule]
    assert "alike" in result.message


def test_equal_files_are_a_tie_without_a_request() -> None:
    trial = FakeTrial(assets={HOLDOUT: csv(made(300))}, artifact_files={"model.pkl": b"2"}, champion_model=off_by(1))
    serving = trial.champion()
    assert serving is not None
    trial.champion = lambda: serving.model_copy(update={"model_digest": trial.model_digest.value})  # type: ignore[method-assign]
    result = Champion().begin(trial, gate(tie="inconclusive"))
    assert (result.outcome, trial.asked) == (GateOutcome.INCONCLUSIVE, [])
    assert "same files" in result.message


@pytest.mark.parametrize("rule", ["pass", "fail"])
def test_the_first_version_follows_its_rule(rule: str) -> None:
    result = judged(gate(first_version=rule), made(300))
    assert result.outcome == {"pass": "passed", "fail": "failed"}[rule]
    assert "nothing serves production yet" in result.message


@pytest.mark.parametrize(("given", "role"), [
    ({"champion_trained_on": csv(made(400))}, "champion"),
    ({"trained_on": csv(made(400))}, "challenger"),
    ({"trained_on": csv([*made(1000, seed=5), *made(7)])}, "challenger"),  # a leaky split
])
def test_who_was_trained_on_the_holdout_is_named(given: dict[str, Any], role: str) -> None:
    result = judged(gate(), made(400), candidate=off_by(0.1), champion_model=off_by(2), **given)
    assert result.outcome is GateOutcome.FAILED
    assert f"the {role} (version" in result.message
    rows = 7 if len(given.get("trained_on", [(0, b"")])[0][1].splitlines()) > 900 else 400
    assert f"{rows} of the holdout's 400 rows" in result.message
    assert "can't be trusted" in result.message


def test_training_data_that_only_the_policy_names_is_measured_too() -> None:
    clean = {"champion_trained_on": csv(made(300, seed=3)), "trained_on": csv(made(300, seed=4))}
    models: dict[str, Any] = {"candidate": off_by(0.1), "champion_model": off_by(2)}
    assert judged(gate(training=TRAINING), made(400), **clean, **models).outcome is GateOutcome.PASSED
    result = judged(gate(training=TRAINING), [*made(393), *made(7, seed=9)], **clean, **models)
    assert result.outcome is GateOutcome.FAILED
    assert "was trained on 7 of the holdout's 400 rows" in result.message
    allowed = judged(gate(training=TRAINING, max_overlap=0.02), [*made(393), *made(7, seed=9)], **clean, **models)
    assert allowed.outcome is GateOutcome.PASSED
    assert [entry["exact"] for entry in allowed.evidence["overlap"]["challenger"]] == [0, 7]


@pytest.mark.parametrize("given", [{}, {"limit": 20_000, "champion_trained_on": csv(made(2000, seed=7))},
                                   {"champion_trained_on": [("t.csv", b"u,v\n1,2")]}])
def test_what_the_champion_was_trained_on_may_be_untold(given: dict[str, Any]) -> None:
    result = judged(gate(), made(300), candidate=off_by(0.1), champion_model=off_by(2), trained_on=csv(made(300, seed=4)), **given)
    assert result.outcome is GateOutcome.PASSED
    assert result.evidence["overlap"]["champion"][0].startswith("not told: ")
    assert "whether champion was trained on these rows is not told" in result.message


def test_worse_in_one_slice_fails_although_better_over_all() -> None:
    candidate, champion = off_by(0.1, "a", then=3), off_by(4, "a", then=1)
    unsliced = judged(gate(), made(600), candidate=candidate, champion_model=champion)
    sliced = judged(gate(slices=["site"]), made(600), candidate=candidate, champion_model=champion)
    assert (unsliced.outcome, sliced.outcome) == (GateOutcome.PASSED, GateOutcome.FAILED)
    assert "it is worse in site=b by" in sliced.message
    assert sliced.evidence["slices"]["failed"] == 1
    assert len(sliced.figures) == 3
    lenient = judged(gate(slices=["site"], max_slice_regression=5), made(600), candidate=candidate, champion_model=champion)
    small = judged(gate(slices=["site"], min_slice_rows=301), made(600), candidate=candidate, champion_model=champion)
    assert (lenient.outcome, small.outcome) == (GateOutcome.PASSED, GateOutcome.PASSED)
    assert small.evidence["slices"]["largest_too_small"] == {"site=a": 300, "site=b": 300}


def refusing(rows: list[Row]) -> list[float]:
    raise Refused(400, "unknown column site")


@pytest.mark.parametrize("broken", [refusing, lambda rows: [float("nan")] * len(rows), lambda rows: [1.0]])
def test_a_champion_that_cannot_answer_is_not_the_candidates_failure(broken: Model) -> None:
    result = judged(gate(), made(300), candidate=off_by(0.1), champion_model=broken)
    assert result.outcome is GateOutcome.INCONCLUSIVE
    assert "says nothing of version 2" in result.message
    assert judged(gate(), made(300), candidate=broken, champion_model=off_by(0.1)).outcome is GateOutcome.FAILED


@pytest.mark.parametrize(("rules", "words"), [
    ({"target": "label"}, "has no column 'label'"),
    ({"slices": ["region"]}, "slices: .* has no column region"),
    ({"slices": ["x"], "min_slice_rows": 10}, None),
    ({"metric": "rmse", "target": "site"}, "that rmse can use"),
])
def test_a_holdout_that_does_not_fit_the_policy_is_refused(rules: dict[str, Any], words: str | None) -> None:
    models: dict[str, Any] = {"candidate": off_by(0.1), "champion_model": off_by(2)}
    if words is None:  # as many slices as rows, none large enough to be judged
        assert judged(gate(**rules), made(300), **models).evidence["slices"]["judged"] == 0
        return
    with pytest.raises(InvalidInput, match=words):
        judged(gate(**rules), made(300), **models)


def test_what_serves_is_compared_not_the_latest() -> None:
    trial = FakeTrial(candidate=off_by(0.5), champion_model=off_by(0.1), assets={HOLDOUT: csv(made(400))}, artifact_files={"m": b"2"})
    found = trial.champion()
    assert found is not None
    serving = found.model_copy(update={"traffic": 90, "model": found.model.model_copy(
        update={"ref": found.model.ref.model_copy(update={"version": "7"})})})
    trial.champion = lambda: serving  # type: ignore[method-assign]
    result = Champion().begin(trial, gate())
    assert result.outcome is GateOutcome.FAILED
    assert "version 7, which serves 90 %" in result.message
    assert {champion for _, champion in trial.asked} == {False, True}


def test_more_slices_than_can_be_judged_are_refused() -> None:
    rows = [row | {"site": f"a{at % 201}"} for at, row in enumerate(made(2100))]
    with pytest.raises(InvalidInput, match="site make 201 slices of 10 rows or more; the limit is 200"):
        judged(gate(slices=["site"], min_slice_rows=10), rows, candidate=off_by(0.1, then=0.1), champion_model=off_by(2, then=2))
