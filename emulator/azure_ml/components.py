"""Components: the registered steps and pipelines that jobs are made of.

Versions of components are assets like others, except that their definition is checked when it is
registered: a component that names something unknown, or refers to an input it doesn't have, is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emulator.azure_ml.asset_kinds import AssetKind
from emulator.azure_ml.assets import Containers, Versions
from emulator.azure_ml.errors import AzureMlError, Conflict, ValidationError
from emulator.azure_ml.jobs.shapes import check_component
from emulator.azure_ml.jobs.submission import Submission
from emulator.azure_ml.resource import ArmRequest, ResourceType

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

# Azure ML allows no hyphen here, unlike in the names of other assets.
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,254}$")


def _versions_stay(name: str, version: str, changed: str) -> AzureMlError:
    return Conflict(
        f"Component {name}:{version} is already registered and its {changed} cannot be changed.",
        code="UserError",
    )


def _check_spec(properties: dict[str, Any]) -> None:
    spec = properties.get("componentSpec")
    if not isinstance(spec, dict) or not spec.get("type"):
        raise ValidationError("A component version needs a componentSpec with a type.")


COMPONENTS = AssetKind(
    plural="components",
    path=None,
    fixed=("componentSpec",),
    defaults={"isAnonymous": False},
    refusal=_versions_stay,
    check=_check_spec,
)


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {
        "components": Containers(azure_ml, COMPONENTS),
        "components/versions": ComponentVersions(azure_ml, COMPONENTS),
    }


class ComponentVersions(Versions):
    async def put(self, request: ArmRequest) -> Response:
        name = request.names[0]
        if not _NAME.match(name):
            raise ValidationError(
                f"Component name should only contain lower letter, number, underscore and start with a lower letter. Currently got {name}."
            )
        spec = request.properties.get("componentSpec")
        if isinstance(spec, dict):
            check_component(spec)
        if isinstance(spec, dict) and self._store.get(request.id) is None:
            Submission(request.scope, self._azure_ml.locations).specification(spec, request.scope)
        return await super().put(request)
