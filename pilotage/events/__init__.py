"""What an event means. Each `parse_*` takes a decoded JSON value and returns a value, or raises InvalidEvent with the reason."""

from __future__ import annotations

from pilotage.events.alerts import parse_custom_alert, parse_monitor_alert
from pilotage.events.envelope import read_json
from pilotage.events.workspace import ModelRegistered, Noted, WorkspaceEvent, parse_workspace_event

__all__ = [
    "ModelRegistered", "Noted", "WorkspaceEvent", "parse_custom_alert", "parse_monitor_alert", "parse_workspace_event", "read_json",
]
