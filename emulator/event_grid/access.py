"""Who may publish to a topic: access keys, shared access signatures, and bearer tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import unquote

from emulator.context import IdentityVerifier
from emulator.errors import Unauthorized


def topic_key(topic: str) -> str:
    """A throw-away access key, the same at each start."""
    return base64.b64encode(hashlib.sha256(f"local-platform:{topic}".encode()).digest()).decode()


def may_publish(headers: Mapping[str, str], topic: str, endpoint: str, identity: IdentityVerifier) -> bool:
    """True when a request carries the topic's key, a valid signature made with it, or a token for an Azure service.

    `headers` in lower case. Roles are not looked at: each identity of the platform may send.
    """
    key = topic_key(topic)
    if given := headers.get("aeg-sas-key"):
        return hmac.compare_digest(given.encode(), key.encode())
    authorization = headers.get("authorization", "")
    token = headers.get("aeg-sas-token")
    if token is None and authorization.lower().startswith("sharedaccesssignature "):
        token = authorization.split(" ", 1)[1]
    if token is not None:
        return _is_valid(token, key, endpoint, datetime.now(UTC))
    try:
        identity.caller(authorization)
    except Unauthorized:
        return False
    return True


def _is_valid(token: str, key: str, endpoint: str, now: datetime) -> bool:
    """`r={resource}&e={expiry}&s={signature}`, as azure-eventgrid's generate_sas makes it; it keeps real time."""
    unsigned, _, signature = token.rpartition("&s=")
    parts = dict(part.partition("=")[::2] for part in unsigned.split("&"))
    expected = base64.b64encode(hmac.new(base64.b64decode(key), unsigned.encode(), hashlib.sha256).digest()).decode()
    resource, until = unquote(parts.get("r", "")), _expiry(unquote(parts.get("e", "")))
    return (hmac.compare_digest(unquote(signature).encode(), expected.encode()) and until is not None and until > now
            and resource.partition("?")[0].rstrip("/").lower() == endpoint.lower())


def _expiry(text: str) -> datetime | None:
    """ISO 8601, or what .NET writes in the United States; UTC where it says nothing else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.strptime(text, "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC)
        except ValueError:
            return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
