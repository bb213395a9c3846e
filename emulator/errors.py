"""The root of the emulator's own errors. Services derive theirs from it; the command line prints it without a traceback."""

from __future__ import annotations


class EmulatorError(Exception):
    """The local platform could not do what was asked; the message says what to do about it."""


class Unauthorized(EmulatorError):
    """The bearer token is missing, malformed, expired or not signed by the identity service."""
