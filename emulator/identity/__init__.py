"""Managed identities and sign-in: real signed tokens for seeded identities."""

from emulator.identity.service import Identity

__all__ = ["Identity"]
