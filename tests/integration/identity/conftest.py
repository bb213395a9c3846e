"""Fixtures of the platform that these tests run against."""

from __future__ import annotations

from tests.support.running_platform import azure, settings

__all__ = ["azure", "settings"]
