"""Channels by name: Teams, Slack, e-mail and whatever else apprise speaks, and the plain webhook for machines.

A channel's URL is a secret: it is in no message, no log and no answer. Policies name channels only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import SecretStr

from pilotage.errors import InvalidInput, Throttled, Unavailable
from pilotage.notify.card import card
from pilotage.notify.webhook import WebhookNotifier
from pilotage.ports import Notification

WEBHOOK, DEFAULT = "webhook", "default"


class Channels:
    """`Notifier` over the configured channels. One with several URLs is told as `name/1`, `name/2`: each of them once."""

    def __init__(self, webhook: SecretStr | None, urls: SecretStr | None) -> None:
        self._webhook = WebhookNotifier(webhook) if webhook else None
        self._known = read_channels(urls)
        self._urls = {place: url for name, found in self._known.items() for place, url in zip(_places(name, found), found, strict=True)}

    def known(self) -> dict[str, list[str]]:
        webhook = {WEBHOOK: [WEBHOOK]} if self._webhook else {}
        return webhook | {name: _places(name, found) for name, found in self._known.items()}

    def names(self, wanted: list[str]) -> list[str]:
        """Where to tell it: the channels that a policy names, and always the webhook; `default` where it names none."""
        known, named = self.known(), wanted or ([DEFAULT] if DEFAULT in self._known else [])
        return [*([WEBHOOK] if self._webhook else []), *dict.fromkeys(place for name in named for place in known.get(name, [name]))]

    def send(self, notification: Notification, channel: str) -> None:
        """Raises Unavailable or Throttled when the channel does not accept it, InvalidInput when there is none of that name."""
        if channel == WEBHOOK and self._webhook is not None:
            self._webhook.send(notification)
            return
        url = self._urls.get(channel)
        if url is None:
            raise InvalidInput(f"there is no channel {channel}: add it to PILOTAGE_NOTIFY_CHANNELS")
        from pilotage.notify.sender import send

        try:
            send(url, card(notification))
        except (InvalidInput, Throttled, Unavailable) as error:
            raise type(error)(f"the channel {channel}: {error}") from None


def _places(name: str, urls: list[SecretStr]) -> list[str]:
    return [name] if len(urls) == 1 else [f"{name}/{number}" for number in range(1, len(urls) + 1)]


def read_channels(text: SecretStr | None) -> Mapping[str, list[SecretStr]]:
    """Name -> URLs, out of PILOTAGE_NOTIFY_CHANNELS. Raises ValueError without a word of what is in it."""
    if text is None:
        return {}
    wrong = ValueError('it must be JSON such as {"ml-team": "workflows://..."}, names (without /) to URLs or lists of URLs')
    try:
        value = json.loads(text.get_secret_value())
    except ValueError:
        raise wrong from None
    if not isinstance(value, dict):
        raise wrong
    found: dict[str, list[SecretStr]] = {}
    for name, urls in value.items():
        listed = urls if isinstance(urls, list) else [urls]
        if not listed or not all(isinstance(url, str) and "://" in url for url in listed) or name == WEBHOOK or "/" in name or not name:
            raise wrong
        found[name] = [SecretStr(url) for url in listed]
    return found
