from __future__ import annotations

from tests.support.workbench_fixtures import bench, events, storage

__all__ = ["bench", "events", "storage"]
