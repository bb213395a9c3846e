"""The platform's own pages, at its root: what it holds and what it is doing, for people. No build step, nothing from elsewhere."""

from emulator.web.guard import OwnPages
from emulator.web.pages import Pages

__all__ = ["OwnPages", "Pages"]
