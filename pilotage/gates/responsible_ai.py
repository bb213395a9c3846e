"""The responsible_ai gate: no cohort is served much worse than the others, nor decided about unequally.

docs/gates/responsible-ai.md tells the rule and how often it is wrong. fairlearn computes the values, `cohorts` the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from operator import sub
from typing import TYPE_CHECKING, Any, ClassVar

from pilotage.domain.figures import Figure, Interval, Intervals
from pilotage.domain.gate_specs import LOWER_IS_BETTER, FairnessLimit, ResponsibleAiGate, result_name
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput
from pilotage.gates import cohorts, statistics, tables
from pilotage.gates.cohorts import Compared, Decision, Judged, labels_of
from pilotage.gates.interface import Trial
from pilotage.gates.metric import unit, unusable
from pilotage.gates.predictions import Ask, Labelled, Sent, Unanswered, for_the_model, is_same, labelled, predict

if TYPE_CHECKING:
    import numpy as np

TOLD = 6
"""Comparisons in the evidence, the worst first; and pairs of columns. The figures have all."""
MAX_DRAWS = 100_000_000
"""Rows x resamples: a few seconds. With more rows fewer resamples tell the ends, and `cohorts.bounds` reaches further out."""


class ResponsibleAi:
    """Failed where the whole interval of a comparison is over its limit, Inconclusive where only the value is, else Passed."""

    kind: ClassVar[str] = "responsible_ai"
    version: ClassVar[str] = "1"
    compares: ClassVar[bool] = False
    spec: ClassVar[type[ResponsibleAiGate]] = ResponsibleAiGate

    def begin(self, trial: Trial, spec: ResponsibleAiGate) -> GateResult:
        """Raises InvalidInput for columns that the holdout does not have, and for one with too many values to be cohorts."""
        return _Judging(trial, spec).verdict()

    def asks(self, trial: Trial, spec: ResponsibleAiGate) -> list[Ask]:
        """What `begin` will have predicted."""
        of = trial.data(spec.holdout).id
        holdout = labelled(*tables.table(trial.files(spec.holdout), of), spec.target, spec.metric, of)
        return [Ask(for_the_model(trial, holdout, of, spec.sensitive))]


class _Judging:
    """One run of the gate: what it has found so far is in `evidence`, and whatever verdict comes takes it along."""

    def __init__(self, trial: Trial, spec: ResponsibleAiGate) -> None:
        self.trial, self.spec = trial, spec
        self.data = trial.data(spec.holdout)
        self.evidence: dict[str, Any] = {"metric": spec.metric, "holdout": self.data.digest.value, "min_cohort": spec.min_cohort,
                                         "confidence": spec.confidence}
        self.figures: list[Figure] = []
        self.error_name = spec.metric if spec.metric in LOWER_IS_BETTER else f"error (1 - {spec.metric})"

    def verdict(self) -> GateResult:
        spec = self.spec
        columns, rows = tables.table(self.trial.files(spec.holdout), self.data.id)
        holdout = labelled(columns, rows, spec.target, spec.metric, self.data.id)
        if spec.target in spec.sensitive:
            raise InvalidInput(f"sensitive: {spec.target} is the label; name columns that tell who or what a row is about")
        self.places = {name: cohorts.split(columns, rows, name, self.data.id) for name in dict.fromkeys(spec.sensitive)}
        self.judged = {name: {label: at for label, at in places.items() if len(at) >= spec.min_cohort}
                       for name, places in self.places.items()}
        self.evidence["rows"] = len(rows)
        self.evidence["cohorts"] = {name: {"judged": len(self.judged[name]), "too_small": len(places) - len(self.judged[name])}
                                    for name, places in self.places.items()}
        if not any(self.judged.values()):
            return self._result(GateOutcome.INCONCLUSIVE, f"none of {sum(map(len, self.places.values()))} cohorts by "
                                f"{', '.join(self.places)} has {spec.min_cohort} rows, which min_cohort asks for: take a larger holdout")
        self.truth = holdout.labels
        try:
            self.said = predict(self.trial, *self._seen(holdout))
        except Unanswered as unanswered:
            return self._result(GateOutcome.FAILED, str(unanswered))
        if problem := unusable(spec.metric, self.said):
            return self._result(GateOutcome.FAILED, f"{spec.metric} can't be computed: {problem}")
        # Equally wrong for everybody would look fair.
        if (spec.metric not in LOWER_IS_BETTER or spec.fairness) and cohorts.are_foreign(self.truth, self.said):
            return self._result(GateOutcome.FAILED, f"none of the {len(self.said)} predictions is a label that the holdout has in "
                                f"{spec.target}: the model must answer with the labels, not with their codes")
        return self._compared()

    def _seen(self, holdout: Labelled) -> Sent:
        """What the model is given: the columns of its signature, in that order; all but the label where it has none.

        A sensitive column is often in the holdout for this gate only: a model that was not trained on it must not be sent it.
        """
        sent = for_the_model(self.trial, holdout, self.data.id, self.spec.sensitive)
        self.evidence["not_sent"] = [name[:60] for name in holdout.features if name not in sent.features][:TOLD]
        return sent

    def _compared(self) -> GateResult:
        spec = self.spec
        self.undecided: list[str] = []
        decisions = [self._decision(limit) for limit in spec.fairness]
        asked = self._count(decisions)
        self.tail = (1 - spec.confidence) / 2 / max(asked, 1)
        wished = max(spec.resamples, min(20_000, math.ceil(10 / self.tail)))
        self.resamples = max(spec.resamples, min(wished, MAX_DRAWS // len(self.truth)))
        tests = [test for name in self.places for test in self._errors(name)]
        tests += [test for decision in decisions for test in self._fairness(decision)]
        self._intersections()
        judged = []
        for test in tests:
            low, high = cohorts.bounds(test.value, test.draws(), self.tail, test.rows)
            judged.append(Judged(test, low, high))
        judged.sort(key=lambda one: (one.order, one.test.told))
        over, failed = [one for one in judged if one.is_over], [one for one in judged if one.surely_over]
        self.evidence |= {
            "comparisons": len(judged), "over": len(over), "surely_over": len(failed),
            "surely_within": bool(judged) and all(one.surely_within for one in judged), "correction": "Bonferroni",
            "confidence_each": round(1 - 2 * self.tail, 8), "resamples": self.resamples, "undecided": self.undecided[:3],
            "worst": [{"limit": one.test.of, "what": one.test.told, "max" if one.test.at_most else "min": one.test.limit,
                       "value": _short(one.test.value), "low": _short(one.low), "high": _short(one.high)} for one in judged[:TOLD]]}
        if failed:
            more = f"; {len(failed) - 1} more comparisons are over their limits too" if failed[1:] else ""
            return self._result(GateOutcome.FAILED, f"{self._told(failed[0])}{more}")
        if over:
            return self._result(GateOutcome.INCONCLUSIVE, f"{self._told(over[0])}, which these rows can't decide: take more rows of it")
        if self.undecided:
            more = f" (and {len(self.undecided) - 1} more)" if self.undecided[1:] else ""
            return self._result(GateOutcome.INCONCLUSIVE, f"{self.undecided[0]}{more}")
        small = sum(told["too_small"] for told in self.evidence["cohorts"].values())
        aside = f"; {small} cohorts under {spec.min_cohort} rows are only reported" if small else ""
        return self._result(GateOutcome.PASSED, f"all {len(judged)} comparisons of {sum(map(len, self.judged.values()))} cohorts by "
                            f"{', '.join(self.places)} are within their limits on {len(self.truth)} rows, the nearest: "
                            f"{self._told(judged[0])}{aside}")

    def _told(self, one: Judged) -> str:
        test = one.test
        return (f"{test.told} is {test.value:.3g} ({100 * (1 - 2 * self.tail):.5g} % interval {one.low:.3g} to {one.high:.3g}); the policy "
                f"allows {'at most' if test.at_most else 'at least'} {test.limit:g}")

    def _count(self, decisions: Sequence[Decision]) -> int:
        """Comparisons that will be made: each is asked for so much certainty that all together fail by chance no more often than one."""
        sizes = [len(judged) for judged in self.judged.values()]
        pairs = sum(math.comb(size, 2) for size in sizes)
        count = (sum(sizes) if self.spec.max_ratio is not None else 0) + (pairs if self.spec.max_difference is not None else 0)
        return count + sum(math.comb(len(decision.rows_of(rate, judged, self.spec.min_cohort)), 2)
                           for decision in decisions for rate in decision.rates for judged in self.judged.values())

    def _errors(self, name: str) -> Iterator[Compared]:
        """Each cohort against all rows, and each two cohorts with each other."""
        import numpy as np
        from fairlearn.metrics import MetricFrame

        spec, judged, places = self.spec, self.judged[name], self.places[name]
        labels = labels_of(places, len(self.truth))
        frame = MetricFrame(metrics=lambda truth, said: cohorts.error(spec.metric, list(truth), list(said)),
                            y_true=_column(self.truth), y_pred=_column(self.said), sensitive_features=np.array(labels, dtype=object))
        values = {str(label): float(value) for label, value in frame.by_group.items()}
        overall = float(frame.overall)
        drawn = cohorts.Errors(spec.metric, self.truth, self.said, places, self.resamples, self.trial.seed)
        self._show(name, values, overall, drawn)
        if (spec.max_ratio is not None or spec.max_difference is not None) and len(judged) < 2:
            self.undecided.append(f"{name} has {len(judged)} cohorts of {spec.min_cohort} rows or more (of {len(places)}): "
                                  f"there is nothing to compare")
        if spec.max_ratio is not None:
            for label, at in judged.items():
                what = (f"the {self.error_name} of {name}={cohorts.short(label)} ({values[label]:.4g} on {len(at)} rows) over that of "
                        f"all rows ({overall:.4g})")
                yield Compared("max_ratio", what, float(cohorts.ratio(values[label], overall)),
                               partial(cohorts.ratio, drawn.of[label], drawn.all), len(at), spec.max_ratio, True)
        if spec.max_difference is not None:
            for pair in combinations(judged, 2):
                best, worst = sorted(pair, key=lambda label: values[label])
                what = (f"the {self.error_name} of {name}={cohorts.short(worst)} ({values[worst]:.4g} on {len(judged[worst])} rows) less "
                        f"that of {cohorts.short(best)} ({values[best]:.4g} on {len(judged[best])} rows)")
                yield Compared("max_difference", what, values[worst] - values[best], partial(sub, drawn.of[worst], drawn.of[best]),
                               min(len(judged[best]), len(judged[worst])), spec.max_difference, True)

    def _show(self, name: str, values: dict[str, float], overall: float, drawn: cohorts.Errors) -> None:
        spec = self.spec
        rows = []
        for label, value in sorted(values.items(), key=lambda entry: (entry[0] not in self.judged[name], -entry[1])):
            size = len(self.places[name][label])
            low, high = cohorts.bounds(value, drawn.of[label], (1 - spec.confidence) / 2, size)
            low = max(low, 0.0)
            note = f"{size} rows" + ("" if label in self.judged[name] else ", too few to decide")
            rows.append(Interval(label=cohorts.short(label), value=value, low=low, high=high, note=note))
        marks = {"all rows": overall} | ({"limit": overall * spec.max_ratio} if spec.max_ratio is not None else {})
        self.figures.append(Intervals(title=f"{self.error_name} by {name}", unit=unit(spec.metric), rows=rows, marks=marks))
        self.evidence["cohorts"][name] |= {
            "error_of_all": _short(overall),
            "worst": {row.label: [_short(row.value), row.note] for row in rows[:max(2, 12 // len(self.places))]}}

    def _decision(self, limit: FairnessLimit) -> Decision:
        truth, said = ([is_same(value, limit.favourable) for value in values] for values in (self.truth, self.said))
        if not any(truth) or all(truth):
            raise InvalidInput(f"favourable: {'every' if any(truth) else 'no'} row of the holdout {self.data.id} has the label "
                               f"{limit.favourable!r} in {self.spec.target}: mend it in {limit.measure}, as it is written in the data")
        return Decision(limit, truth, said)

    def _fairness(self, decision: Decision) -> Iterator[Compared]:
        """Rates of each two cohorts, for each rate that the measure is of. fairlearn's own value is in the evidence."""
        import fairlearn.metrics
        import numpy as np

        spec, limit = self.spec, decision.limit
        told: dict[str, Any] = {}
        for name, places in self.judged.items():
            labels = labels_of(places, len(self.truth))
            there = [at for at, label in enumerate(labels) if label]
            if len(places) >= 2:
                truth, said = (np.array([values[at] for at in there], dtype=int) for values in (decision.truth, decision.said))
                value = getattr(fairlearn.metrics, limit.measure)(truth, said, sensitive_features=[labels[at] for at in there])
                told[name] = _short(float(value))
            rates = []
            for rate in decision.rates:
                of = decision.rows_of(rate, places, spec.min_cohort)
                if len(of) < 2:
                    self.undecided.append(f"{limit.measure} by {name}: {len(of)} cohorts have {spec.min_cohort} rows or more that the "
                                          f"{rate} rate is of: there is nothing to compare")
                values = {label: sum(hits) / len(hits) for label, hits in of.items()}
                draws = {label: cohorts.rate(hits, self.resamples, self.trial.seed + order)
                         for order, (label, hits) in enumerate(of.items())}
                for label, hits in of.items():
                    low, high = cohorts.bounds(values[label], draws[label], (1 - spec.confidence) / 2, len(hits))
                    rates.append(Interval(label=f"{cohorts.short(label)}, {rate}", value=values[label], low=max(low, 0.0),
                                          high=min(high, 1.0), note=f"{len(hits)} rows"))
                yield from self._pairs(name, rate, limit, values, draws, {label: len(hits) for label, hits in of.items()})
            if rates:
                title = f"Rates of {limit.favourable} by {name} ({limit.measure})"
                self.figures.append(Intervals(title=title, unit="share of 1", rows=rates))
        self.evidence.setdefault("fairness", {})[limit.measure] = told

    def _pairs(self, name: str, rate: str, limit: FairnessLimit, values: dict[str, float], draws: dict[str, np.ndarray],
               sizes: dict[str, int]) -> Iterator[Compared]:
        as_ratio = limit.measure.endswith("_ratio")
        for pair in combinations(values, 2):
            least, most = sorted(pair, key=lambda label: values[label])
            what = (f"{limit.measure} by {name}, the {rate} rate of {limit.favourable} of {cohorts.short(least)} ({values[least]:.3g} on "
                    f"{sizes[least]} rows) {'over' if as_ratio else 'against'} that of {cohorts.short(most)} ({values[most]:.3g} on "
                    f"{sizes[most]} rows),")
            rows = min(sizes[least], sizes[most])
            if as_ratio:
                yield Compared(limit.measure, what, float(cohorts.ratio(values[least], values[most])),
                               partial(cohorts.ratio, draws[least], draws[most]), rows, float(limit.limit), False)
            else:
                yield Compared(limit.measure, what, values[most] - values[least], partial(sub, draws[most], draws[least]), rows,
                               float(limit.limit), True)

    def _intersections(self) -> None:
        """Errors of cohorts by two columns at once: reported, and decide nothing."""
        import numpy as np
        from fairlearn.metrics import MetricFrame, count

        for one, other in combinations(self.places, 2):
            places = cohorts.crossed(self.places[one], self.places[other])
            frame = MetricFrame(
                metrics={"error": lambda truth, said: cohorts.error(self.spec.metric, list(truth), list(said)), "rows": count},
                y_true=_column(self.truth), y_pred=_column(self.said),
                sensitive_features=np.array(labels_of(places, len(self.truth)), dtype=object))
            found = [(str(label), float(error), int(rows)) for label, error, rows in frame.by_group[["error", "rows"]].itertuples()]
            large = sorted((entry for entry in found if entry[2] >= self.spec.min_cohort), key=lambda entry: (-entry[1], entry[0]))
            told = self.evidence.setdefault("intersections", {})
            if len(told) < TOLD:
                told[f"{one} x {other}"[:60]] = {
                    "reported": len(large), "too_small": len(found) - len(large),
                    "worst": {label[:60]: [_short(error), f"{rows} rows"] for label, error, rows in large[:3]}}
            if large:
                self.figures.append(self._crossed(f"{self.error_name} by {one} and {other} (decides nothing)", places, large[:20],
                                                  float(frame.overall["error"])))

    def _crossed(self, title: str, places: cohorts.Places, large: Sequence[tuple[str, float, int]], overall: float) -> Intervals:
        rows = []
        for label, error, size in large:
            sure = statistics.interval(self.spec.metric, *([values[at] for at in places[label]] for values in (self.truth, self.said)),
                                       confidence=self.spec.confidence, resamples=self.spec.resamples, seed=self.trial.seed)
            ends = (sure.low, sure.high) if self.spec.metric in LOWER_IS_BETTER else (1 - sure.high, 1 - sure.low)
            rows.append(Interval(label=label[:80], value=error, low=ends[0], high=ends[1], note=f"{size} rows"))
        return Intervals(title=title, unit=unit(self.spec.metric), rows=rows, marks={"all rows": overall})

    def _result(self, outcome: GateOutcome, message: str) -> GateResult:
        return GateResult(gate=result_name(ResponsibleAi.kind, self.spec), outcome=outcome, message=message, evidence=self.evidence,
                          figures=self.figures, severity=self.spec.severity, version=ResponsibleAi.version,
                          inputs={"holdout": self.data.digest.value, "model": self.trial.model_digest.value})


def _column(values: Sequence[Any]) -> np.ndarray:
    """One object a row, also where values are lists."""
    import numpy as np

    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _short(value: float) -> float | str:
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)
