"""What a step asks of the platform, as the identity that jobs run as; the standard library only, to start quickly."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_TIMEOUT = 30
_ATTEMPTS = 5


def tag_run(tags: dict[str, str]) -> None:
    """Add tags to this step's own run."""
    _send("PATCH", _history("/tags"), tags)


def log_metrics(metrics: dict[str, float]) -> None:
    """Add metrics to this step's own run, as properties that run history shows."""
    _send("PATCH", _history(""), {"properties": {f"azureml.modelmonitor.{name}": json.dumps(value) for name, value in metrics.items()}})


def metric_name(row: dict[str, Any]) -> str:
    """`distance.NormalizedWassersteinDistance`, or the metric alone when it is not of one feature."""
    return ".".join(part for part in (row["group"], row["metric_name"]) if part)


def mail(emails: list[str], subject: str, text: str) -> None:
    """Put a message where the platform keeps what it would have sent."""
    _send("POST", f"{os.environ['AZUREML_SERVICE_ENDPOINT']}/_emulator/mailbox/email", {"to": emails, "subject": subject, "text": text})


def _history(part: str) -> str:
    run = urllib.parse.quote(os.environ["AZUREML_RUN_ID"])
    service = os.environ["AZUREML_RUN_HISTORY_SERVICE_ENDPOINT"]
    return f"{service}/history/v1.0{os.environ['AZUREML_WORKSPACE_SCOPE']}/runs/{run}{part}"


def _token() -> str:
    query = {"api-version": "2019-08-01", "resource": "https://ml.azure.com"}
    if client_id := os.environ.get("AZURE_CLIENT_ID"):
        query["client_id"] = client_id
    url = f"{os.environ['IDENTITY_ENDPOINT']}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, headers={"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]})  # noqa: S310 - the platform's own
    return str(json.loads(_open(request))["access_token"])


def _send(method: str, url: str, body: Any) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {_token()}"}
    _open(urllib.request.Request(url, json.dumps(body).encode(), headers, method=method))  # noqa: S310 - the platform's own


def _open(request: urllib.request.Request) -> bytes:
    """The answer's body; tries again when the platform is busy or a fault was asked of it."""
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl.create_default_context()))
    opener = urllib.request.build_opener(*handlers)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with opener.open(request, timeout=_TIMEOUT) as answer:
                return bytes(answer.read())
        except urllib.error.URLError as problem:
            passing = not isinstance(problem, urllib.error.HTTPError) or problem.code in (408, 429) or problem.code >= 500
            if attempt == _ATTEMPTS or not passing:
                raise
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")
