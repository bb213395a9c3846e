"""Telling people."""

from __future__ import annotations

from pilotage.notify.channels import Channels

__all__ = ["Channels"]
