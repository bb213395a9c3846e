"""Tokens: one DefaultAzureCredential per identity, kept for the life of the process because it caches them."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

_lock = Lock()
_credentials: dict[str | None, DefaultAzureCredential] = {}


def credential(client_id: str | None = None) -> DefaultAzureCredential:
    """The credential of a user-assigned identity, or (None) of the app's default identity."""
    # Half a second to import, and a worker that only replays orchestrations never needs it.
    from azure.identity import DefaultAzureCredential

    with _lock:
        if client_id not in _credentials:
            chosen = {"managed_identity_client_id": client_id} if client_id else {}
            _credentials[client_id] = DefaultAzureCredential(**chosen)
        return _credentials[client_id]
