"""Telling people."""

from __future__ import annotations

from pilotage.notify.webhook import LogNotifier, WebhookNotifier

__all__ = ["LogNotifier", "WebhookNotifier"]
