"""Who may publish to a topic: access keys, shared access signatures, and bearer tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from urllib.parse import unquote

from emulator.context import IdentityVerifier
from emulator.errors import Unauthorized


def topic_key(topic: str, key: str = "key1") -> str:
    """A throw-away access key, the same at each start."""
    seed = f"local-platform:{topic}" + ("" if key == "key1" else f":{key}")
    return base64.b64encode(hashlib.sha256(seed.encode()).digest()).decode()


def refusal(headers: Mapping[str, str], keys: Collection[str], endpoint: str, identity: IdentityVerifier, local_auth: bool) -> str | None:
    """Why a request may not publish; None when it carries a key of the topic, a valid signature made with one, or a token
    for an Azure service.

    `headers` in lower case; `keys` are the topic's. Roles are not looked at: each identity of the platform may send.
    """
    authorization = headers.get("authorization", "")
    key, token = headers.get("aeg-sas-key"), headers.get("aeg-sas-token")
    if token is None and authorization.lower().startswith("sharedaccesssignature "):
        token = authorization.split(" ", 1)[1]
    if (key or token is not None) and not local_auth:
        return "Local authentication is disabled for this topic: use a Microsoft Entra token."
    if key:
        fits = [hmac.compare_digest(key.encode(), own.encode()) for own in keys]
        return None if any(fits) else "The request authorization key is not authorized for this topic."
    if token is not None:
        now = datetime.now(UTC)
        valid = any(_is_valid(token, own, endpoint, now) for own in keys)
        return None if valid else "The shared access signature is malformed, has expired, or is not for this topic."
    if not authorization:
        return "Request must contain one of the following authorization signature: aeg-sas-token, aeg-sas-key."
    try:
        identity.caller(authorization)
    except Unauthorized as problem:
        return f"The token is not valid: {problem}"
    return None


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
