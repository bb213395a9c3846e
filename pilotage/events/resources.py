"""Names in events: what a workspace, an endpoint, a model and a version may be called."""

from __future__ import annotations

import re
from typing import Any

from pilotage.errors import InvalidEvent
from pilotage.events.envelope import Declared

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")
_VERSION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,29}$")
_WORKSPACE = re.compile(
    r"^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/(?P<name>[^/]+)"
    r"(?:/onlineEndpoints/(?P<endpoint>[^/]+)(?:/deployments/(?P<deployment>[^/]+))?)?/?$", re.IGNORECASE)


def workspace_of_topic(topic: str) -> str:
    """The workspace's name of its ARM id. Raises InvalidEvent for any other topic."""
    match = _WORKSPACE.match(topic)
    if match is None or match["endpoint"]:
        raise InvalidEvent(f"the topic {topic[:256]!r} is not the ARM id of an Azure ML workspace")
    return match["name"]


def endpoint_of_targets(targets: Any) -> tuple[str | None, str]:
    """(workspace, endpoint) of the first alert target that is an online endpoint or a deployment of one."""
    if targets is not None and not isinstance(targets, list):
        raise InvalidEvent("data.essentials.alertTargetIDs must be a list")
    for target in targets or []:
        match = _WORKSPACE.match(target) if isinstance(target, str) else None
        if match and match["endpoint"]:
            return match["name"], match["endpoint"]
    return None, ""


def optional_name(fields: Declared, *names: str) -> str | None:
    """A name of an endpoint, model or signal; None when there is none. Raises InvalidEvent when it can't be one."""
    text = fields.optional_text(*names)
    if text and not _NAME.match(text):
        raise InvalidEvent(f"{fields.where}{names[0]} {text[:64]!r} is not a name: use letters, digits, dots, dashes and underscores")
    return text or None


def required_name(fields: Declared, name: str) -> str:
    fields.text(name)
    return optional_name(fields, name) or ""


def optional_workspace(fields: Declared, name: str) -> str | None:
    """A workspace named plainly or by its ARM id."""
    match = _WORKSPACE.match(fields.optional_text(name))
    return match["name"] if match else optional_name(fields, name)


def model_version(fields: Declared) -> str:
    """Integers in Azure's samples, text in its newer specification."""
    value = fields.get("modelVersion")
    if value is None or value == "":
        raise InvalidEvent(f"{fields.where}modelVersion is missing")
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidEvent(f"{fields.where}modelVersion must be a whole number or text, not {type(value).__name__}")
    if isinstance(value, int) and not 0 <= value < 10**30:
        raise InvalidEvent(f"{fields.where}modelVersion is out of range")
    version = str(value).strip()
    if not _VERSION.match(version):
        raise InvalidEvent(f"{fields.where}modelVersion {version[:64]!r} is not a version")
    return version
