"""Which gates there are: the built-in ones, and what is installed as an entry point of the group `pilotage.gates`.

A gate's module is imported when the gate is asked for: the app starts without any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from pydantic import ValidationError

from pilotage.domain.gate_specs import BUILT_IN, ExtensionGate, GateSpec
from pilotage.errors import InvalidInput
from pilotage.gates.interface import Gate

GROUP = "pilotage.gates"
_CLASSES = {
    "smoke": "pilotage.gates.smoke:Smoke", "contract": "pilotage.gates.contract:Contract",
    "performance": "pilotage.gates.performance:Performance", "data_quality": "pilotage.gates.data_quality:DataQuality",
    "metric": "pilotage.gates.metric:Metric", "champion": "pilotage.gates.champion:Champion",
    "responsible_ai": "pilotage.gates.responsible_ai:ResponsibleAi", "security": "pilotage.gates.security:Security",
    "unit_tests": "pilotage.gates.unit_tests:UnitTests", "custom": "pilotage.gates.custom:Custom",
}


def find(kind: str, spec: dict[str, Any]) -> tuple[Gate[Any], GateSpec]:
    """The gate of a kind and its spec, read strictly. Raises InvalidInput that names what is wrong, and where."""
    if kind != "extension":
        if kind not in _CLASSES:
            raise InvalidInput(f"there is no gate {kind!r}; there are {', '.join(_CLASSES)} and extension")
        module, _, name = _CLASSES[kind].partition(":")
        return getattr(import_module(module), name)(), _read(BUILT_IN[kind], spec, kind)
    wanted = _read(ExtensionGate, spec, kind)
    gate = _installed(wanted.name)()
    if lacking := [name for name in ("kind", "version", "compares", "spec", "begin") if not hasattr(gate, name)]:
        raise InvalidInput(f"the gate {wanted.name!r} has no {', '.join(lacking)}: pilotage/gates/interface.py says what a gate is")
    ruled = {name: spec[name] for name in ("severity", "timeout") if name in spec}
    made: type[GateSpec] = gate.spec
    return gate, _read(made, wanted.settings | ruled, f"extension {wanted.name}: settings")


def _installed(name: str) -> Callable[[], Gate[Any]]:
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise InvalidInput(f"no gate {name!r} is installed: a package offers one as an entry point of the group {GROUP} "
                           f"(installed: {', '.join(sorted(found)) or 'none'})")
    try:
        return cast(Callable[[], Gate[Any]], found[name].load())
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"the gate {name!r} ({found[name].value}) can't be loaded: {error}") from error


def _read[Spec: GateSpec](model: type[Spec], value: dict[str, Any], where: str) -> Spec:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in error.errors(include_url=False))
        raise InvalidInput(f"gate {where}: {told}") from None
