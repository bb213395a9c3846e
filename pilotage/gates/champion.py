"""The champion gate: the candidate against the version that serves production now, on rows that neither was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from pilotage.domain.assets import DataVersion
from pilotage.domain.figures import Figure, Interval, Intervals
from pilotage.domain.gate_specs import ChampionGate, result_name
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput, NotFound, TooLarge
from pilotage.gates import overlap, statistics, tables
from pilotage.gates.interface import Champion as Serving
from pilotage.gates.interface import Trial
from pilotage.gates.metric import unit, unusable
from pilotage.gates.predictions import Ask, Labelled, Sent, Unanswered, for_the_model, is_number, is_same, labelled, predict

MAX_SLICES = 200
"""Slices that are judged: with more, each is asked for more certainty than 20,000 resamples can tell."""
TOLD_SLICES = 20
"""Slices in the evidence and the figure, the worst first."""
RULES = {"pass": GateOutcome.PASSED, "fail": GateOutcome.FAILED, "inconclusive": GateOutcome.INCONCLUSIVE, "hold": GateOutcome.INCONCLUSIVE}


class Champion:
    """Judges the interval of the improvement, from a paired bootstrap: docs/gates/champion.md tells the rule and its error rates."""

    kind: ClassVar[str] = "champion"
    version: ClassVar[str] = "1"
    compares: ClassVar[bool] = True
    spec: ClassVar[type[ChampionGate]] = ChampionGate

    def begin(self, trial: Trial, spec: ChampionGate) -> GateResult:
        """Raises InvalidInput for a holdout without the label or slice columns; everything else is a verdict."""
        return _Comparing(trial, spec).verdict()

    def asks(self, trial: Trial, spec: ChampionGate) -> list[Ask]:
        """What `begin` will have predicted, by whom."""
        return _Comparing(trial, spec).asks()


class _Comparing:
    """One run of the gate: what it has found so far is in `evidence`, and whatever verdict comes takes it along."""

    def __init__(self, trial: Trial, spec: ChampionGate) -> None:
        self.trial, self.spec = trial, spec
        self.data = trial.data(spec.holdout)
        self.challenger = f"version {trial.model.ref.version}"
        self.evidence: dict[str, Any] = {
            "metric": spec.metric, "holdout": self.data.digest.value, "confidence": spec.confidence, "resamples": spec.resamples,
            "challenger": {"version": trial.model.ref.version, "digest": trial.model_digest.value}}
        self.inputs = {"holdout": self.data.digest.value, "model": trial.model_digest.value}
        self.figures: list[Figure] = []

    def asks(self) -> list[Ask]:
        columns, rows = tables.table(self.trial.files(self.spec.holdout), self.data.id)
        if len(rows) < self.spec.min_rows:
            return []
        holdout = labelled(columns, rows, self.spec.target, self.spec.metric, self.data.id)
        sent = for_the_model(self.trial, holdout, self.data.id, self.spec.slices)
        return [Ask(sent), Ask(_champions(sent, holdout), champion=True)]

    def verdict(self) -> GateResult:
        serving = self.trial.champion()
        if serving is None:
            return self._result(RULES[self.spec.first_version], f"nothing serves production yet, so {self.challenger} has nothing to be "
                                f"compared with; the policy's first_version says {self.spec.first_version}")
        self.evidence["champion"] = {
            "version": serving.model.ref.version, "digest": serving.model_digest, "workspace": serving.workspace,
            "endpoint": serving.endpoint, "deployment": serving.deployment, "traffic": serving.traffic}
        self.inputs["champion"] = serving.model_digest
        if serving.model_digest == self.trial.model_digest.value:
            return self._tie(f"{self.challenger} has the same files as {_named(serving)}")
        columns, rows = tables.table(self.trial.files(self.spec.holdout), self.data.id)
        holdout = labelled(columns, rows, self.spec.target, self.spec.metric, self.data.id)
        if unknown := [name for name in self.spec.slices if name not in columns]:
            raise InvalidInput(f"slices: the holdout {self.data.id} has no column {', '.join(unknown)} (it has {', '.join(columns)})")
        self.evidence["rows"] = len(rows)
        if len(rows) < self.spec.min_rows:
            return self._result(GateOutcome.INCONCLUSIVE, f"{len(rows)} labelled rows; the policy asks for {self.spec.min_rows} or more")
        if known := self._trained_on(columns, rows, serving):
            return self._result(GateOutcome.FAILED, known)
        try:
            sent = for_the_model(self.trial, holdout, self.data.id, self.spec.slices)
            said = predict(self.trial, *sent)
        except Unanswered as unanswered:
            return self._result(GateOutcome.FAILED, f"{self.challenger}: {unanswered}")
        if problem := unusable(self.spec.metric, said):
            return self._result(GateOutcome.FAILED, f"{self.challenger} can't be compared: {problem}")
        try:
            champion_said = predict(self.trial, *_champions(sent, holdout), champion=True)
        except Unanswered as unanswered:
            return self._result(GateOutcome.INCONCLUSIVE, f"{_named(serving)} can't answer the holdout's columns, which says nothing of "
                                f"{self.challenger}: {unanswered}")
        if problem := unusable(self.spec.metric, champion_said):
            return self._result(GateOutcome.INCONCLUSIVE, f"{_named(serving)} can't be compared with, which says nothing of "
                                f"{self.challenger}: {problem}")
        if all(map(_equal, said, champion_said)):
            return self._tie(f"{self.challenger} and {_named(serving)} answer all {len(rows)} rows alike")
        self.evidence["constant"] = all(_equal(said[0], value) for value in said)
        return self._compared(columns, rows, holdout.labels, champion_said, said, serving)

    def _compared(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], labels: Sequence[Any], champion: Sequence[Any],
                  challenger: Sequence[Any], serving: Serving) -> GateResult:
        spec = self.spec
        found = statistics.difference(spec.metric, labels, champion, challenger, confidence=spec.confidence, resamples=spec.resamples,
                                      seed=self.trial.seed)
        threshold = float(spec.min_effect or -spec.max_regression)
        self.evidence["champion"] |= _rounded(found.champion)
        self.evidence["challenger"] |= _rounded(found.challenger)
        self.evidence |= {"improvement": _rounded(found.improvement), "threshold": threshold,
                          "method": "paired bootstrap, expanded percentiles",
                          "test": "superiority" if spec.min_effect else "non-inferiority"}
        self.figures += [
            Intervals(title=f"{spec.metric} of both versions", unit=unit(spec.metric), rows=[
                _interval(f"champion {serving.model.ref.version}", found.champion, len(rows)),
                _interval(f"challenger {self.trial.model.ref.version}", found.challenger, len(rows))]),
            Intervals(title=f"What {self.challenger} is better by", unit=unit(spec.metric),
                      rows=[_interval("improvement", found.improvement, len(rows))], marks={"must be over": threshold})]
        worse = self._slices(columns, rows, labels, champion, challenger)
        gain = found.improvement
        alike = " (it answers every row alike)" if self.evidence["constant"] else ""
        told = (f"{self.challenger} has {spec.metric} {found.challenger.value:.4g}{alike} against {found.champion.value:.4g} of "
                f"{_named(serving)}: {_better(gain.value)}, {_percent(spec.confidence)} interval {gain.low:+.4g} to {gain.high:+.4g}, "
                f"on {len(rows)} rows; the policy asks for {_asked(spec)}")
        outcome = decide(gain, threshold)
        if outcome is GateOutcome.FAILED:
            return self._result(outcome, f"{told}, and it is not")
        if worse:
            return self._result(GateOutcome.FAILED, f"{told}; it is worse in {worse}")
        if outcome is GateOutcome.PASSED:
            return self._result(outcome, told)
        return self._result(RULES[spec.inconclusive], f"{told}, which these rows can't decide; the policy's inconclusive says "
                            f"{spec.inconclusive}")

    def _slices(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], labels: Sequence[Any], champion: Sequence[Any],
                challenger: Sequence[Any]) -> str:
        """The slices that are shown to be worse than the policy lets them be, as the end of a sentence; empty: none.

        Bonferroni: each slice is asked for so much certainty that all together fail by chance no more often than one.
        """
        spec = self.spec
        slices = {(name, label): places for name in spec.slices for label, places in _places(columns.index(name), rows)}
        judged = {which: places for which, places in slices.items() if len(places) >= spec.min_slice_rows}
        if not slices:
            return ""
        if len(judged) > MAX_SLICES:
            raise InvalidInput(f"slices: {', '.join(spec.slices)} make {len(judged)} slices of {spec.min_slice_rows} rows or more; the "
                               f"limit is {MAX_SLICES}: name columns with fewer values, or raise min_slice_rows")
        confidence = 1 - (1 - spec.confidence) / max(len(judged), 1)
        # So that about ten resamples lie beyond each end.
        resamples = min(20_000, max(spec.resamples, math.ceil(20 / (1 - confidence))))
        limit = -float(spec.max_regression if spec.max_slice_regression is None else spec.max_slice_regression)
        found = []
        for (name, label), places in judged.items():
            gain = statistics.difference(spec.metric, *([column[place] for place in places] for column in (labels, champion, challenger)),
                                         confidence=confidence, resamples=resamples, seed=self.trial.seed).improvement
            found.append((f"{name}={label}", gain, len(places)))
        found.sort(key=lambda entry: (entry[1].high - limit, entry[0]))
        failed = [entry for entry in found if entry[1].high < limit]
        small = sorted(((f"{name}={label}", len(places)) for (name, label), places in slices.items() if (name, label) not in judged),
                       key=lambda entry: (-entry[1], entry[0]))
        self.evidence["slices"] = {
            "judged": len(judged), "failed": len(failed), "threshold": limit, "confidence_each": round(confidence, 6),
            "correction": "Bonferroni", "resamples": resamples, "too_small": len(small), "too_small_rows": sum(size for _, size in small),
            "largest_too_small": dict(small[:5]),
            "worst": [{"slice": label, "rows": size} | _rounded(gain) for label, gain, size in found[:TOLD_SLICES]]}
        if found:
            self.figures.append(Intervals(
                title=f"What {self.challenger} is better by, per slice", unit=unit(spec.metric), marks={"must reach over": limit},
                rows=[_interval(label, gain, size) for label, gain, size in found[:TOLD_SLICES]]))
        named = "; ".join(f"{label} by {-gain.value:.4g} ({_percent(confidence)} interval {-gain.high:.4g} to {-gain.low:.4g}, "
                          f"{size} rows; at most {-limit:g} is allowed)" for label, gain, size in failed[:3])
        return f"{named} and {len(failed) - 3} more slices" if failed[3:] else named

    def _trained_on(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], serving: Serving) -> str:
        """Why the comparison can't be trusted: who was trained on how many of the holdout's rows; empty when within the limit."""
        limit, problems = self.spec.max_overlap, []
        measured: dict[str, Any] = {"max": limit}
        self.evidence["overlap"] = measured
        for role, who in (("champion", _named(serving)), ("challenger", self.challenger)):
            measured[role] = []
            for source in _sources(self.trial, self.spec, role):
                try:
                    found = self._overlap(columns, rows, role, source)
                except (TooLarge, NotFound) as error:
                    found = f"not told: {error}"[:300]
                if isinstance(found, str):
                    measured[role].append(found)
                    continue
                data, shared = found
                measured[role].append({
                    "data": data.id[-100:], "digest": data.digest.value, "training_rows": shared.against, "columns": len(shared.columns),
                    "exact": shared.exact, "exact_share": round(shared.exact_share, 6), "near": shared.near,
                    "near_share": round(shared.near_share, 6), "chance_share": round(shared.chance_share, 6)} | shared.method)
                if overlap.exceeds(shared, limit):
                    chance = f", {shared.chance_share:.2%} would be equal by chance" if shared.chance_share else ""
                    problems.append(f"the {role} ({who}) was trained on {shared.exact} of the holdout's {len(rows)} rows "
                                    f"({shared.exact_share:.2%}{chance}; at most {limit:.2%} is allowed)")
        return f"{' and '.join(problems)}: the comparison can't be trusted, take a holdout that neither has seen" if problems else ""

    def _overlap(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], role: str, source: _Source
                 ) -> tuple[DataVersion, overlap.Overlap] | str:
        data = source.version()
        if data is None:
            return "not told: the model names no training data"
        self.inputs[f"{role}'s training {data.ref.name}"] = data.digest.value
        trained_columns, trained = tables.table(source.files(), data.id)
        common = set(columns) & set(trained_columns)
        if 2 * len(common) < len(columns):
            return f"not told: {data.id} has only {len(common)} of the holdout's {len(columns)} columns"
        return data, overlap.measure(columns, rows, trained_columns, trained)

    def _tie(self, what: str) -> GateResult:
        self.evidence["tie"] = True
        return self._result(RULES[self.spec.tie], f"{what}; the policy's tie says {self.spec.tie}")

    def _result(self, outcome: GateOutcome, message: str) -> GateResult:
        told = self.evidence.get("overlap", {})
        untold = [role for role in ("champion", "challenger") if any(isinstance(entry, str) for entry in told.get(role, []))]
        if untold:
            message += f" (whether {' or '.join(untold)} was trained on these rows is not told)"
        return GateResult(gate=result_name(Champion.kind, self.spec), outcome=outcome, message=message, evidence=self.evidence,
                          figures=self.figures, severity=self.spec.severity, version=Champion.version, inputs=self.inputs)


def decide(improvement: statistics.Estimate, threshold: float) -> GateOutcome:
    """Passed or Failed when the whole interval lies on one side of the threshold, else Inconclusive.

    One that is at the threshold passes by chance in about (1 - confidence) / 2 of cases, and fails as seldom.
    """
    if improvement.high < threshold:
        return GateOutcome.FAILED
    return GateOutcome.PASSED if improvement.low >= threshold else GateOutcome.INCONCLUSIVE


class _Source(NamedTuple):
    """Training data that somebody names; either may raise NotFound or TooLarge."""

    version: Callable[[], DataVersion | None]
    files: Callable[[], tables.Files]


def _sources(trial: Trial, spec: ChampionGate, role: str) -> list[_Source]:
    """For the candidate both the model's property and the policy's asset, where there are both: each may name less than all."""
    champion, named = role == "champion", spec.training
    told = _Source(lambda: trial.training(champion=champion), lambda: trial.training_files(champion=champion))
    if champion or named is None:
        return [told]
    given = _Source(lambda: trial.data(named), lambda: trial.files(named))
    try:
        own = trial.training()
    except NotFound:
        return [told, given]
    return [given] if own is None or own.digest == trial.data(named).digest else [told, given]


def _champions(sent: Sent, holdout: Labelled) -> Sent:
    """It may have been trained on columns that the challenger does without; a tensor has no names to tell them apart."""
    return sent if sent.tensor else Sent(holdout.features, holdout.rows)


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.4g} %"


def _named(serving: Serving) -> str:
    return f"version {serving.model.ref.version}, which serves {serving.traffic} % of {serving.endpoint}"


def _equal(one: Any, other: Any) -> bool:
    """Up to the noise of other processors: numbers to nine digits."""
    if is_number(one) and is_number(other):
        return math.isclose(one, other, rel_tol=1e-9)
    return is_same(one, other)


def _better(gain: float) -> str:
    return f"better by {gain:.4g}" if gain > 0 else f"worse by {-gain:.4g}" if gain < 0 else "neither better nor worse"


def _asked(spec: ChampionGate) -> str:
    if spec.min_effect:
        return f"an improvement of {spec.min_effect:g} or more"
    return f"one that is not worse by more than {spec.max_regression:g}" if spec.max_regression else "one that is not worse"


def _places(column: int, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[int]]]:
    """Values of a column, with the rows that have each."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        value = row[column]
        found.setdefault("(none)" if value is None else f"{value:g}" if is_number(value) else str(value).strip()[:40], []).append(place)
    yield from sorted(found.items())


def _rounded(estimate: statistics.Estimate) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in estimate.model_dump().items()}


def _interval(label: str, estimate: statistics.Estimate, rows: int) -> Interval:
    return Interval(label=label, value=estimate.value, low=estimate.low, high=estimate.high, note=f"{rows} rows")
