"""Telling people through one webhook: a JSON object with `title`, `text` and what a decision needs.

The webhook's URL is often a secret itself, so it appears in no message and no log.
"""

from __future__ import annotations

import httpx
from pydantic import SecretStr

from pilotage.errors import Throttled, Unavailable
from pilotage.ports import Notification

TIMEOUT = 10.0
"""Seconds."""


class WebhookNotifier:
    """POSTs each notification. `transport` replaces the network."""

    def __init__(self, url: SecretStr, transport: httpx.BaseTransport | None = None) -> None:
        self._url, self._transport = url, transport

    def send(self, notification: Notification) -> None:
        """Raises Unavailable when the channel does not accept it, Throttled when it asks for patience."""
        try:
            # A redirect is not followed: it would carry the decision link to a host nobody configured.
            with httpx.Client(timeout=TIMEOUT, transport=self._transport) as client:
                response = client.post(self._url.get_secret_value(), json=notification.model_dump(mode="json"))
        except httpx.HTTPError as error:
            raise Unavailable(f"the notification webhook did not answer: {type(error).__name__}") from None
        if response.status_code == 429:
            raise Throttled("the notification webhook asks for fewer messages")
        if not response.is_success:
            raise Unavailable(f"the notification webhook answered {response.status_code}")
