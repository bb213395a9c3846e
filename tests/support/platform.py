"""The local platform as the tests use it: `emulator.testing` with the app's own settings and words."""

from __future__ import annotations

from pathlib import Path

from emulator.testing.platform import DEADLINE, wait_for
from emulator.testing.platform import LivePlatform as AnyPlatform

__all__ = ["DEADLINE", "ROOT", "LivePlatform", "wait_for"]
ROOT = Path(__file__).parents[2]


class LivePlatform(AnyPlatform):
    """The platform of this repository's platform.yaml, with the app."""

    def __init__(self, state: Path, *, functions: bool = True, settings: dict[str, str] | None = None) -> None:
        super().__init__(state, functions=functions, settings=settings, folder=ROOT)

    def user_token(self, username: str, scope: str = "api://pilotage/.default") -> str:
        return super().user_token(username, scope)

    def variables(self, identity: str | None = None) -> dict[str, str]:
        """Without the app's own settings: this process is none of the app."""
        return {name: value for name, value in super().variables(identity).items() if not name.startswith("PILOTAGE_")}
