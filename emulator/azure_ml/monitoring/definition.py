"""A monitor's definition as the SDK sends it, checked and brought into one form.

Names of metrics and enumerations come in camel or Pascal case, depending on the client; here they are as
Azure's monitoring components write them (`NormalizedWassersteinDistance`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.azure_ml.errors import ValidationError
from emulator.azure_ml.request_fields import LONGEST

Json = dict[str, Any]

_DRIFT: dict[str, tuple[str, ...]] = {
    "numerical": ("JensenShannonDistance", "NormalizedWassersteinDistance", "PopulationStabilityIndex", "TwoSampleKolmogorovSmirnovTest"),
    "categorical": ("JensenShannonDistance", "PopulationStabilityIndex", "PearsonsChiSquaredTest"),
}
_RATES = ("NullValueRate", "DataTypeErrorRate", "OutOfBoundsRate")
_QUALITY: dict[str, tuple[str, ...]] = {"numerical": _RATES, "categorical": _RATES}
_PERFORMANCE: dict[str, tuple[str, ...]] = {
    "classification": ("Accuracy", "Precision", "Recall"),
    "regression": ("MeanAbsoluteError", "MeanSquaredError", "RootMeanSquaredError"),
}
_METRICS: dict[str, dict[str, tuple[str, ...]]] = {
    "DataDrift": _DRIFT,
    "PredictionDrift": _DRIFT,
    "DataQuality": _QUALITY,
    "ModelPerformance": _PERFORMANCE,
}
_PERFORMANCE_PROPERTY = "azureml.modelmonitor.model_performance_thresholds"
"""Where the SDK puts the thresholds of a performance signal: its `metricThreshold` always says accuracy of 0.9."""
_DURATION = re.compile(
    r"P(?:(?P<years>\d{1,9})Y)?(?:(?P<months>\d{1,9})M)?(?:(?P<weeks>\d{1,9})W)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9})S)?)?"
)
_SECONDS = {"years": 365 * 86400, "months": 30 * 86400, "weeks": 7 * 86400, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}


@dataclass(frozen=True, slots=True)
class DataInput:
    """Production or reference data: an address as it was given and the part of it that counts."""

    uri: str
    kind: str
    """`uri_file`, `uri_folder` or `mltable`."""
    size: timedelta | None = None
    offset: timedelta = timedelta(0)
    start: datetime | None = None
    end: datetime | None = None
    columns: tuple[tuple[str, str], ...] = ()
    preprocessing: str | None = None

    def window(self, now: datetime) -> dict[str, str | None]:
        """`start` and `end` in ISO 8601: a trailing window ends `offset` before the run's time; None where there is no bound."""
        if self.size is not None:
            end = now - self.offset
            return {"start": (end - self.size).isoformat(), "end": end.isoformat()}
        return {name: at.isoformat() if at else None for name, at in (("start", self.start), ("end", self.end))}


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal; `settings` is what the computing step is given besides the windows."""

    name: str
    production: DataInput
    reference: DataInput
    settings: Json


def parse(definition: Any) -> list[Signal]:
    """The signals of a `monitorDefinition`; raises `ValidationError`, which names the property."""
    where = "properties.action.monitorDefinition"
    if not isinstance(definition, dict):
        raise ValidationError(f"{where} is required.")
    if not isinstance(definition.get("computeConfiguration"), dict):
        raise ValidationError(f"{where}.computeConfiguration is required.")
    signals = definition.get("signals")
    if not isinstance(signals, dict) or not signals:
        raise ValidationError(f"{where}.signals must have at least one signal.")
    emails = _emails(definition)
    return [_signal(name, body, f"{where}.signals.{name}", emails) for name, body in signals.items()]


def _signal(name: str, body: Any, where: str, emails: list[str]) -> Signal:
    kind = _one_of(_text(body, "signalType", where), tuple(_METRICS), f"{where}.signalType")
    production = body.get("productionData")
    if kind == "ModelPerformance" and isinstance(production, list):
        production = production[0] if production else None
    production_data = _data(production, f"{where}.productionData")
    reference_data = _data(body.get("referenceData"), f"{where}.referenceData")
    settings: Json = {
        "name": name,
        "type": kind,
        "thresholds": _performance(body, where) if kind == "ModelPerformance" else _thresholds(body, _METRICS[kind], where),
        "features": _features(body.get("features"), f"{where}.features"),
        "type_overrides": _overrides(_mapping(body, "featureDataTypeOverride", where), f"{where}.featureDataTypeOverride"),
        "segment": _segment(body.get("dataSegment"), f"{where}.dataSegment"),
        "emails": emails if str(body.get("mode")).lower() == "enabled" else [],
    }
    if kind == "ModelPerformance":
        settings["columns"] = _performance_columns(production_data, reference_data, where)
    return Signal(name, production_data, reference_data, settings)


def _data(body: Any, where: str) -> DataInput:
    if not isinstance(body, dict):
        raise ValidationError(f"{where} is required.")
    kind = _one_of(_text(body, "jobInputType", where), ("uri_file", "uri_folder", "mltable"), f"{where}.jobInputType")
    common: Json = {
        "uri": _text(body, "uri", where),
        "kind": kind,
        "columns": tuple(sorted((str(key), str(value)) for key, value in _mapping(body, "columns", where).items())),
        "preprocessing": body.get("preprocessingComponentId") or None,
    }
    # 2023-06-01-preview says Trailing for what later versions call Rolling.
    match str(body.get("inputDataType", "")).lower():
        case "trailing" | "rolling":
            return DataInput(
                **common,
                size=duration(body.get("windowSize"), f"{where}.windowSize"),
                offset=duration(body.get("windowOffset") or "P0D", f"{where}.windowOffset"),
            )
        case "static":
            start, end = (_time(body.get(name), f"{where}.{name}") for name in ("windowStart", "windowEnd"))
            if end <= start:
                raise ValidationError(f"{where}.windowEnd must be after windowStart.")
            return DataInput(**common, start=start, end=end)
        case "fixed":
            return DataInput(**common)
    raise ValidationError(f"{where}.inputDataType must be Trailing, Static or Fixed, not {body.get('inputDataType')!r}.")


def duration(text: Any, where: str) -> timedelta:
    """An ISO 8601 duration; a month is 30 days, a year 365."""
    found = _DURATION.fullmatch(str(text or ""))
    if found is None or not any(found.groups()):
        raise ValidationError(f"{where} {text!r:.100} is not a duration such as P7D.")
    length = sum(_SECONDS[name] * int(value or 0) for name, value in found.groupdict().items())
    if length > LONGEST:
        raise ValidationError(f"{where} {text!r} is longer than a hundred years.")
    return timedelta(seconds=length)


def _time(text: Any, where: str) -> datetime:
    try:
        found = datetime.fromisoformat(str(text))
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise ValidationError(f"{where} {text!r} is not a time such as 2026-01-31T00:00:00Z.") from None


def _thresholds(body: Json, metrics: dict[str, tuple[str, ...]], where: str) -> list[Json]:
    listed = body.get("metricThresholds")
    if not isinstance(listed, list) or not listed:
        raise ValidationError(f"{where}.metricThresholds must have at least one threshold.")
    found = []
    for number, entry in enumerate(listed):
        here = f"{where}.metricThresholds[{number}]"
        kind = _one_of(_text(entry, "dataType", here), tuple(metrics), f"{here}.dataType")
        metric = _one_of(_text(entry, "metric", here), metrics[kind], f"{here}.metric")
        found.append({"metric": metric, "data_type": kind, "value": _value(entry.get("threshold"), f"{here}.threshold")})
    return found


def _performance(body: Json, where: str) -> list[Json]:
    """A performance signal's thresholds: the property that the SDK writes them to, else `metricThreshold`."""
    text = _mapping(body, "properties", where).get(_PERFORMANCE_PROPERTY)
    try:
        listed = json.loads(text) if text else [body.get("metricThreshold")]
    except (TypeError, ValueError):
        raise ValidationError(f"{where}.properties.{_PERFORMANCE_PROPERTY} is not JSON.") from None
    if not isinstance(listed, list):
        raise ValidationError(f"{where}.properties.{_PERFORMANCE_PROPERTY} must be a list.")
    found = []
    for entry in listed:
        kind = _one_of(_text(entry, "modelType", f"{where}.metricThreshold"), tuple(_PERFORMANCE), f"{where}.metricThreshold.modelType")
        metric = _one_of(_text(entry, "metric", f"{where}.metricThreshold"), _PERFORMANCE[kind], f"{where}.metricThreshold.metric")
        found.append({"metric": metric, "data_type": "", "value": _value(entry.get("threshold"), f"{where}.metricThreshold.threshold")})
    return found


def _performance_columns(production: DataInput, reference: DataInput, where: str) -> Json:
    predicted, true = dict(production.columns), dict(reference.columns)
    if "prediction" not in predicted or "target" not in true:
        raise ValidationError(f"{where} needs productionData.columns.prediction and referenceData.columns.target.")
    return {
        "prediction": predicted["prediction"],
        "target": true["target"],
        "production_key": predicted.get("correlation_id"),
        "reference_key": true.get("correlation_id"),
    }


def _features(body: Any, where: str) -> list[str] | int | None:
    """Names, how many of the most important, or None for all."""
    if body is None:
        return None
    match str(body.get("filterType", "") if isinstance(body, dict) else "").lower():
        case "allfeatures":
            return None
        case "featuresubset" if isinstance(body.get("features"), list) and body["features"]:
            return [str(name) for name in body["features"]]
        case "topnfeaturesbyattribution":
            top = body.get("top")
            if top is None:
                return 10
            if isinstance(top, int) and not isinstance(top, bool) and top > 0:
                return top
            raise ValidationError(f"{where}.top must be a whole number from 1, not {top!r}.")
    raise ValidationError(f"{where} must be AllFeatures, FeatureSubset with its features, or TopNFeaturesByAttribution.")


def _overrides(body: Json, where: str) -> dict[str, str]:
    return {str(name): _one_of(str(kind), ("numerical", "categorical"), f"{where}.{name}") for name, kind in body.items()}


def _segment(body: Any, where: str) -> Json | None:
    if not body:
        return None
    feature = body.get("feature") if isinstance(body, dict) else None
    if not feature or not isinstance(feature, str) or not isinstance(body.get("values"), list):
        raise ValidationError(f"{where} needs a feature and values.")
    return {"feature": body["feature"], "values": body["values"]}


def _emails(definition: Json) -> list[str]:
    """Where breaches are mailed to. 2023-06-01-preview has an envelope around what later versions have directly."""
    where = "properties.action.monitorDefinition"
    name = "alertNotificationSetting" if definition.get("alertNotificationSetting") else "alertNotificationSettings"
    email = _mapping(_mapping(definition, name, where), "emailNotificationSetting", f"{where}.{name}")
    addresses = email.get("emails") or []
    if not isinstance(addresses, list):
        raise ValidationError(f"{where}.{name}.emailNotificationSetting.emails must be a list.")
    return [str(address) for address in addresses]


def _value(threshold: Any, where: str) -> float | None:
    """A threshold's number; None (no threshold) computes the metric without judging it."""
    value = threshold.get("value") if isinstance(threshold, dict) else threshold
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValidationError(f"{where}.value must be a number, not {value!r}.")


def _text(body: Any, name: str, where: str) -> str:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise ValidationError(f"{where}.{name} is required.")
    return value


def _mapping(body: Json, name: str, where: str) -> Json:
    """An object that may be left out."""
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise ValidationError(f"{where}.{name} must be an object.")
    return value


def _one_of(text: str, known: tuple[str, ...], where: str) -> str:
    """The known spelling of a name, which clients write in any case."""
    for name in known:
        if name.lower() == text.lower():
            return name
    raise ValidationError(f"{where} must be one of {', '.join(known)}, not {text!r}.")
