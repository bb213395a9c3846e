"""Which gates there are, and how their specs are read."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from pydantic import Field

from pilotage.domain.gate_specs import BUILT_IN, GateSpec
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.domain.policy import Gate
from pilotage.errors import InvalidInput
from pilotage.gates import catalogue

EXAMPLES: dict[str, dict[str, Any]] = {
    "smoke": {"samples": "azureml:s:1"}, "contract": {"samples": "azureml:s:1"}, "performance": {"samples": "azureml:s:1", "p95_ms": 100},
    "data_quality": {"data_asset": "azureml:d:1"}, "metric": {"metric": "mae", "holdout": "azureml:h:1", "target": "y", "max": 1},
    "champion": {"metric": "mae", "holdout": "azureml:h:1", "target": "y"},
    "responsible_ai": {"sensitive": ["x"], "metric": "mae", "holdout": "azureml:h:1", "target": "y", "max_ratio": 2},
    "security": {}, "unit_tests": {"component": "azureml:t:1"},
    "custom": {"name": "energy", "component": "azureml:c:1", "metric": "joules", "max": 1},
}


def test_every_built_in_gate_is_there_and_reads_its_spec() -> None:
    assert set(EXAMPLES) | {"extension"} == set(BUILT_IN) == set(Gate.model_fields)
    for kind, spec in EXAMPLES.items():
        gate, read = catalogue.find(kind, spec)
        assert (gate.kind, type(read), gate.spec) == (kind, BUILT_IN[kind], BUILT_IN[kind])
        assert gate.version
        assert gate.compares in (True, False)


@pytest.mark.parametrize(("kind", "spec", "says"), [
    ("smok", {}, "there is no gate 'smok'"), ("smoke", {}, "samples: Field required"),
    ("smoke", {"samples": "azureml:s:1", "minimum": 1}, "minimum: Extra inputs"),
    ("smoke", {"samples": "azureml:s:1", "deterministic": "false"}, "deterministic: Input should be a valid boolean"),
    ("performance", {"samples": "azureml:s:1"}, "needs p50_ms, p95_ms or p99_ms"),
    ("extension", {"name": "nobody"}, "no gate 'nobody' is installed"),
])
def test_what_is_wrong_is_told_with_its_place(kind: str, spec: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        catalogue.find(kind, spec)


class CarbonSpec(GateSpec):
    grams: float = Field(gt=0)


class Carbon:
    """A team's own gate."""

    kind, version, compares, spec = "carbon", "3", False, CarbonSpec

    def begin(self, trial: Any, spec: CarbonSpec) -> GateResult:
        return GateResult(gate="carbon", outcome=GateOutcome.PASSED, message=f"under {spec.grams} g")


def test_an_installed_gate_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(name, f"nowhere:{name}", catalogue.GROUP) for name in ("carbon", "broken", "empty")]
    monkeypatch.setattr(catalogue, "entry_points", lambda group: points)
    monkeypatch.setattr(EntryPoint, "load", lambda self: {"carbon": Carbon, "empty": object}.get(self.name) or _missing())
    gate, spec = catalogue.find("extension", {"name": "carbon", "settings": {"grams": 2.5}, "severity": "warn"})
    assert (gate.version, spec.severity) == ("3", "warn")
    with pytest.raises(InvalidInput, match="extension carbon: settings: grams"):
        catalogue.find("extension", {"name": "carbon", "settings": {"grams": -1.0}})
    with pytest.raises(InvalidInput, match="'empty' has no kind, version, compares, spec, begin"):
        catalogue.find("extension", {"name": "empty"})
    with pytest.raises(InvalidInput, match="can't be loaded"):
        catalogue.find("extension", {"name": "broken"})


def _missing() -> None:
    raise ImportError("no module named nowhere")
