"""Sends a card by apprise: Teams, Slack, e-mail and whatever else has an apprise URL.

The URL is a secret (it holds tokens and passwords), and apprise writes URLs, hosts and payloads to its log. So nothing of
that log is kept; only the status code of a refusal is read from it, because apprise itself answers yes or no.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

from pydantic import SecretStr

from pilotage.errors import InvalidInput, Throttled, Unavailable
from pilotage.notify.card import Card

CONNECT, READ = 5.0, 15.0
"""Seconds for a connection and for each read; a URL's own `cto` and `rto` do not override them."""

_PLAIN = frozenset({"slack"})
"""Services whose Markdown is another one, in which a name can't be escaped: they get plain text."""
_STATUS = re.compile(r"\berror=(\d{3})\b")
_here = threading.local()


def send(url: SecretStr, card: Card) -> None:
    """Raises Unavailable, Throttled, and InvalidInput for a URL of no kind that is known. No message holds the URL."""
    apprise = _apprise()
    asset = apprise.AppriseAsset(
        app_id="Pilotage", app_desc="Promotion of models", async_mode=False, secure_logging=True, http_redirects=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY)
    server = apprise.Apprise.instantiate(url.get_secret_value(), asset=asset, suppress_exceptions=True)
    if server is None:
        raise InvalidInput("it has a URL of no kind that is known: see PILOTAGE_NOTIFY_CHANNELS")
    # Whatever the URL says: a redirect would carry the decision link to a host that nobody configured.
    server.redirects = False
    server.socket_connect_timeout, server.socket_read_timeout = CONNECT, READ
    if _PLAIN & {server.secure_protocol, server.protocol}:
        server.notify_format = apprise.NotifyFormat.TEXT
    # Written in the channel's own format, so that apprise converts nothing.
    body = {apprise.NotifyFormat.HTML: card.html, apprise.NotifyFormat.MARKDOWN: card.markdown}.get(server.notify_format, card.plain)()
    _here.status = ""
    try:
        sent = server.notify(title=card.title, body=body, body_format=server.notify_format)
    except Exception as error:  # its text may hold the URL
        raise Unavailable(f"it failed with {type(error).__name__}") from None
    if not sent and _here.status == "429":
        raise Throttled("it asks for fewer messages")
    if not sent:
        raise Unavailable(f"it answered {_here.status}" if _here.status else "it did not accept the message, or did not answer")


def _apprise() -> Any:
    """The library, with its log shut. It takes a while to load, so the first message does."""
    import apprise

    log = logging.getLogger("apprise")
    if not any(isinstance(found, _Shut) for found in log.filters):
        log.addFilter(_Shut())
    log.setLevel(logging.WARNING)
    for name in ("urllib3", "requests"):  # these log URLs too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return apprise


class _Shut(logging.Filter):
    """Lets no record through; keeps the status code of the thread's own message."""

    def filter(self, record: logging.LogRecord) -> bool:
        if found := _STATUS.search(record.getMessage()):
            _here.status = found[1]
        return False
