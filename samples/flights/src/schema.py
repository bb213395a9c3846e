"""The columns of the air-time model: one place for every step, because their order is the signature's."""

from __future__ import annotations

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["distance", "hour"]
FEATURES = [*CATEGORIES, *NUMBERS]
"""Known when a flight is planned, before the timetable has block times: distance in miles, hour of the
scheduled local departure (0 to 23)."""
TARGET = "air_time"
"""Minutes from wheels up to wheels down."""
