"""Approves the promotion of a `repository_dispatch`, from a job whose environment's reviewers have let it start.

The link's token is read from the event's file: what stands in `env:` of a step is shown in its log.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import quote

TRIES = 5


def main() -> int:
    with open(os.environ["GITHUB_EVENT_PATH"], encoding="utf-8") as file:
        asked = json.load(file)["client_payload"]
    run = f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}/actions/runs/{os.environ['GITHUB_RUN_ID']}"
    request = urllib.request.Request(
        f"{os.environ['PILOTAGE_URL'].rstrip('/')}/api/approvals/{quote(asked['promotion'], safe='')}/decision", method="POST",
        headers={"Authorization": f"Bearer {os.environ['PILOTAGE_TOKEN']}", "Content-Type": "application/json"},
        data=json.dumps({"decision": "approve", "reason": "the environment's reviewers let the job start", "reference": run,
                         "token": asked["link_token"]}).encode())
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                print(f"recorded: the approval of {asked['promotion']} is {json.load(answer)['state']}")
                return 0
        except urllib.error.HTTPError as refused:
            if refused.code == 503 and left:
                time.sleep(float(refused.headers.get("Retry-After", "10")))
                continue
            print(f"::error::Pilotage answered {refused.code}: {_message(refused)}")
            return 1
    return 1


def _message(refused: urllib.error.HTTPError) -> str:
    try:
        return json.load(refused)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return "not as Pilotage does: is PILOTAGE_URL right?"


if __name__ == "__main__":
    sys.exit(main())
