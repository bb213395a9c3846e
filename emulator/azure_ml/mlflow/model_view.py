"""What MLflow's clients see of the workspace's models, and what they can search them by."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulator.azure_ml.mlflow import filters
from emulator.azure_ml.mlflow.calls import Json
from emulator.azure_ml.mlflow.errors import invalid
from emulator.azure_ml.mlflow.experiments import key_values
from emulator.azure_ml.registration import ALIASES
from emulator.azure_ml.store import Resource

STAGES = {"none": "None", "staging": "Staging", "production": "Production", "archived": "Archived"}
SOURCE, LOGGED_MODEL = "_mlflow_source", "_mlflow_model_id"
"""Keys of a version that Azure Resource Manager doesn't show."""
_PROMPT = "mlflow.prompt.is_prompt"


def model_shown(model: Resource, versions: list[Resource]) -> Json:
    latest = {stage_of(one): one for one in versions}
    aliases = model.get(ALIASES, {})
    return {
        "name": model["name"],
        "description": model["properties"].get("description") or "",
        "tags": key_values(model["properties"]["tags"]),
        "aliases": [{"alias": alias, "version": version} for alias, version in sorted(aliases.items())],
        "latest_versions": [version_shown(model, one) for one in latest.values()],
        **_times(model),
    }


def version_shown(model: Resource, version: Resource) -> Json:
    properties, name = version["properties"], version["name"]
    return {
        "name": model["name"],
        "version": name,
        "description": properties.get("description") or "",
        "tags": key_values(properties["tags"]),
        "aliases": sorted(alias for alias, target in model.get(ALIASES, {}).items() if target == name),
        "current_stage": stage_of(version),
        "source": version.get(SOURCE) or properties["modelUri"],
        "run_id": properties.get("jobName") or "",
        "model_id": version.get(LOGGED_MODEL) or "",
        "status": "READY",
        "user_id": version["systemData"]["createdBy"],
        **_times(version),
    }


def stage_named(text: str) -> str:
    if text.lower() not in STAGES:
        raise invalid(f"Invalid Model Version stage: {text}. Value must be one of {', '.join(STAGES.values())}.")
    return STAGES[text.lower()]


def stage_of(version: Resource) -> str:
    stage = version["properties"].get("stage") or "None"
    return STAGES.get(stage.lower(), stage)


def _times(resource: Resource) -> Json:
    made, changed = (_milliseconds(resource["systemData"][key]) for key in ("createdAt", "lastModifiedAt"))
    return {"creation_timestamp": made, "last_updated_timestamp": changed}


def _milliseconds(when: str) -> int:
    return int(datetime.fromisoformat(when).timestamp() * 1000)


def _tag(resource: Resource, key: str) -> str | None:
    """MLflow 3 keeps prompts among models and asks for `!= 'true'` of those that are none and have no such tag."""
    tag: str | None = resource["properties"]["tags"].get(key)
    return "false" if tag is None and key == _PROMPT else tag


def model_item(model: Resource) -> filters.Item:
    def value(entity: str, key: str) -> Any:
        if entity == "tag":
            return _tag(model, key)
        return model["name"] if key == "name" else _times(model)[key]

    return value


def version_item(name: str, version: Resource) -> filters.Item:
    properties = version["properties"]

    def value(entity: str, key: str) -> Any:
        if entity == "tag":
            return _tag(version, key)
        match key:
            case "name":
                return name
            case "run_id":
                return properties.get("jobName") or ""
            case "source_path":
                return version.get(SOURCE) or properties["modelUri"]
            case "current_stage":
                return stage_of(version)
            case "version_number":
                return int(version["name"]) if version["name"].isdecimal() else None
        return _times(version)[key]

    return value
