"""Turns what Pilotage's webhook posts (on standard input) into a `repository_dispatch`.

GITHUB_REPOSITORY says where to, GITHUB_TOKEN who (contents: write on that repository).
"""

import json
import os
import sys
import urllib.request

ASKS = ("awaiting_approval", "plan_changed")


def main() -> int:
    told = json.load(sys.stdin)
    if told["kind"] not in ASKS:
        return 0
    api = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    event = {"event_type": "pilotage", "client_payload": {name: told[name] for name in ("promotion", "title", "link_token")}}
    request = urllib.request.Request(
        f"{api}/repos/{os.environ['GITHUB_REPOSITORY']}/dispatches", method="POST", data=json.dumps(event).encode(),
        headers={"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json",
                 "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60):
        return 0


if __name__ == "__main__":
    sys.exit(main())
