"""What differs between models, environments, data and codes: their properties and what may not change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emulator.azure_ml.errors import AzureMlError, Conflict, ValidationError

Properties = dict[str, Any]
_OBJECTS = ("flavors", "build", "inferenceConfig", "componentSpec")
_TEXTS = ("stage", "jobName", "environmentType", "description")


@dataclass(frozen=True, slots=True)
class AssetKind:
    """One kind of versioned asset."""

    plural: str
    """Its collection in ARM paths."""
    path: str | None
    """The property that says where its bytes are; a registered version keeps it for good."""
    fixed: tuple[str, ...]
    """Further properties that a registered version keeps."""
    defaults: Properties
    refusal: Callable[[str, str, str], AzureMlError]
    """Name, version and property of a change that is refused, to the error that says so."""
    check: Callable[[Properties], None] = lambda properties: None
    """Raises `ValidationError` for properties that can't be registered."""

    def check_types(self, given: Properties) -> None:
        """Raise `ValidationError` for a property that has another type than the published description says."""
        for name in (self.path, *self.fixed, *_TEXTS):
            if name is not None and name not in _OBJECTS and not isinstance(given.get(name, ""), str):
                raise ValidationError(f"The field properties.{name} must be a text.")
        for name in _OBJECTS:
            if not isinstance(given.get(name, {}), dict):
                raise ValidationError(f"The field properties.{name} must be an object.")


def _paths_stay(name: str, version: str, changed: str) -> AzureMlError:
    # The SDK recognises exactly this text.
    return ValidationError("Asset paths cannot be updated.", code="UserError")


def _versions_stay(name: str, version: str, changed: str) -> AzureMlError:
    # The SDK's auto-increment relies on a 409 here.
    return Conflict(
        f"{name}:{version} is already registered and its {changed} cannot be changed.", code="UserError"
    )


def _check_model(properties: Properties) -> None:
    if not properties.get("modelUri"):
        raise ValidationError("A model version needs a modelUri.")
    kind = properties.get("modelType") or "custom_model"
    if kind not in ("custom_model", "mlflow_model", "triton_model"):
        raise ValidationError(
            f"The model type {kind!r} is not one of custom_model, mlflow_model, triton_model."
        )


def _check_environment(properties: Properties) -> None:
    if bool(properties.get("image")) == bool(properties.get("build")):
        raise ValidationError("An environment needs either an image or a build context.")


def _check_data(properties: Properties) -> None:
    if not properties.get("dataUri"):
        raise ValidationError("A data version needs a dataUri.")
    if properties.get("dataType") not in ("uri_file", "uri_folder", "mltable"):
        raise ValidationError(
            f"The data type {properties.get('dataType')!r} is not one of uri_file, uri_folder, mltable."
        )


def _check_code(properties: Properties) -> None:
    if not properties.get("codeUri"):
        raise ValidationError("A code version needs a codeUri.")


MODELS = AssetKind(
    plural="models",
    path="modelUri",
    fixed=("modelType",),
    defaults={
        "flavors": {},
        "modelType": "custom_model",
        "stage": None,
        "jobName": None,
        "isAnonymous": False,
    },
    refusal=_paths_stay,
    check=_check_model,
)
ENVIRONMENTS = AssetKind(
    plural="environments",
    path=None,
    fixed=("image", "condaFile", "build", "osType"),
    defaults={"environmentType": "UserCreated", "osType": "Linux", "isAnonymous": False},
    refusal=_versions_stay,
    check=_check_environment,
)
DATA = AssetKind(
    plural="data",
    path="dataUri",
    fixed=("dataType",),
    defaults={"isAnonymous": False},
    refusal=_versions_stay,
    check=_check_data,
)
CODES = AssetKind(
    plural="codes",
    path="codeUri",
    fixed=(),
    defaults={"isAnonymous": False},
    refusal=_paths_stay,
    check=_check_code,
)

KINDS = {kind.plural: kind for kind in (MODELS, ENVIRONMENTS, DATA, CODES)}
