"""Channels by name: Teams, Slack, e-mail and whatever else apprise speaks, and the plain webhook for machines.

A channel's URL is a secret: it is in no message, no log and no answer. Policies name channels only.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from pydantic import SecretStr

from pilotage.errors import InvalidInput, Unavailable
from pilotage.notify.card import card
from pilotage.notify.webhook import WebhookNotifier
from pilotage.ports import Notification

WEBHOOK, DEFAULT = "webhook", "default"
log = logging.getLogger("pilotage.notify")


class Channels:
    """`Notifier` over the configured channels."""

    def __init__(self, webhook: SecretStr | None, urls: SecretStr | None) -> None:
        self._webhook = WebhookNotifier(webhook) if webhook else None
        self._urls = read_channels(urls)

    def names(self, wanted: list[str]) -> list[str]:
        """Where to tell it: the channels that a policy names, and always the webhook; `default` where it names none."""
        named = wanted or ([DEFAULT] if DEFAULT in self._urls else [])
        return [*([WEBHOOK] if self._webhook else []), *dict.fromkeys(named)]

    def send(self, notification: Notification, channel: str) -> None:
        """Raises Unavailable or Throttled when the channel does not accept it, InvalidInput when there is none of that name."""
        if channel == WEBHOOK and self._webhook is not None:
            self._webhook.send(notification)
            return
        if channel not in self._urls:
            raise InvalidInput(f"there is no channel {channel}: add it to PILOTAGE_NOTIFY_CHANNELS")
        import apprise

        for name in ("apprise", "urllib3", "requests"):  # these log URLs, which are secrets
            logging.getLogger(name).setLevel(logging.CRITICAL)
        sender = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Pilotage", app_desc="Promotion of models", async_mode=False))
        for url in self._urls[channel]:
            if not sender.add(url.get_secret_value()):
                raise InvalidInput(f"the channel {channel} has a URL of no kind that is known: see PILOTAGE_NOTIFY_CHANNELS")
        title, body = card(notification)
        if not sender.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
            raise Unavailable(f"the channel {channel} did not accept it")


def read_channels(text: SecretStr | None) -> Mapping[str, list[SecretStr]]:
    """Name -> URLs, out of PILOTAGE_NOTIFY_CHANNELS. Raises ValueError without a word of what is in it."""
    if text is None:
        return {}
    wrong = ValueError('it must be JSON such as {"ml-team": "msteams://..."}, names to URLs or lists of URLs')
    try:
        value = json.loads(text.get_secret_value())
    except ValueError:
        raise wrong from None
    if not isinstance(value, dict):
        raise wrong
    found: dict[str, list[SecretStr]] = {}
    for name, urls in value.items():
        listed = urls if isinstance(urls, list) else [urls]
        if not listed or not all(isinstance(url, str) and "://" in url for url in listed) or name == WEBHOOK:
            raise wrong
        found[name] = [SecretStr(url) for url in listed]
    return found
