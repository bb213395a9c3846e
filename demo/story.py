"""The story, chapter by chapter. Each returns what the next one builds on, or raises NotObserved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from demo.errors import NotObserved
from demo.narrator import Narrator
from demo.people import Approver, Pilotage, wait_for
from demo.science import DataScientist

MODEL = "air-time"
ENDPOINT = "air-time"
ENDED = {"succeeded", "failed", "inconclusive", "errored", "rejected", "expired", "held", "skipped", "rolled_back", "terminated"}


@dataclass
class Story:
    """Who takes part, and what has been seen so far."""

    env: dict[str, str]
    narrator: Narrator
    pilotage: Pilotage
    approver: Approver
    scientist: DataScientist
    _told: dict[str, int] = field(default_factory=dict)

    # --- chapters ---------------------------------------------------------------------------------

    def first_version(self) -> str:
        self.narrator.chapter("1. A model is registered, and goes to production by itself")
        self.scientist.prepare_workspace()
        self.narrator.say("registered the sample's environment, data, components and pipeline in mlw-dev (azure-ai-ml)")
        folder = self.scientist.train("winter")
        self.narrator.say("trained on winter flights, on this machine, with the sample's own scripts")
        self._register(folder, "1", "winter")
        promotion = self._through(self._await_version("1"))
        self._scores_like(folder, "winter")
        return promotion

    def drift_and_second_version(self) -> str:
        self.narrator.chapter("2. Summer comes: drift, retraining, and the new version beside the old one")
        version = self.scientist.summer_arrives()
        self.narrator.say(f"summer flights registered as training data and holdout, version {version}")
        self.scientist.raise_drift_alert(ENDPOINT)
        self.narrator.say("drift alert published to the custom topic (azure-eventgrid), twice: Event Grid delivers at least once")
        job = self._with_time("the retraining job", self.scientist.retraining_job, "PT10M", "the policy gathers alerts for 10 minutes")
        self.narrator.good(f"retraining job {job} runs in mlw-dev")
        promotion = self._await_version("2", timeout=240)
        if len(self.scientist.retraining_jobs()) != 1:
            raise NotObserved(f"one alert delivered twice started {self.scientist.retraining_jobs()}")
        self._through(promotion)
        folder = self.scientist.download("2")
        self._scores_like(folder, "summer")
        return promotion

    def broken_version(self) -> str:
        self.narrator.chapter("3. A broken version is stopped by its gate")
        before = self.scientist.traffic(ENDPOINT)
        folder = self.scientist.train("summer", unit="hours")
        self.narrator.say("somebody trains on hours instead of minutes, and registers it")
        self._register(folder, "3", "summer")
        promotion = self._await_version("3")
        found = self._follow(promotion, until=ENDED)
        if found["phase"] != "failed":
            raise NotObserved(f"version 3 ended {found['phase']}: {found.get('message')}")
        if self.scientist.traffic(ENDPOINT) != before:
            raise NotObserved("the traffic changed although the gate failed")
        self.narrator.good(f"stopped: {found['message']}")
        return promotion

    def rolled_back(self, promotion: str, expected: dict[str, int]) -> None:
        self.narrator.chapter("4. One HTTP call takes production back")
        self.pilotage.roll_back(promotion, "demo: customers complain")
        self.narrator.say(f"POST /api/promotions/{promotion}/rollback")
        wait_for("the rollback", lambda: True if self.scientist.traffic(ENDPOINT) == expected else None)
        wait_for("the phase rolled_back", lambda: True if self.pilotage.promotion(promotion)["phase"] == "rolled_back" else None)
        self.narrator.good(f"traffic is exactly as before: {expected}")
        status, _ = self.scientist.score(ENDPOINT, self.scientist.rows("winter"))
        if status != 200:
            raise NotObserved(f"after the rollback the endpoint answers {status}")
        self.narrator.good("the endpoint answers with version 1")

    def ending(self) -> None:
        rows = [[p["id"], f"{p['model']}:{p['version']}", p["phase"], p.get("message", "")[:90]]
                for p in sorted(self.pilotage.promotions(model=MODEL), key=lambda p: int(p["version"]))]
        self.narrator.table("Promotions", ["id", "model", "phase", "message"], rows)
        phases = {row[1]: row[2] for row in rows}
        wanted = {f"{MODEL}:1": "succeeded", f"{MODEL}:2": "rolled_back", f"{MODEL}:3": "failed"}
        if phases != wanted:
            raise NotObserved(f"the promotions ended {phases}; the story promises {wanted}")

    # --- scenes -----------------------------------------------------------------------------------

    def _register(self, folder: Any, version: str, season: str) -> None:
        self.scientist.register(folder, version, season)
        self.narrator.say(f"registered {MODEL}:{version} in mlw-dev through azure-ai-ml; its event is on the way")

    def _await_version(self, version: str, timeout: float = 60) -> str:
        def look() -> str | None:
            return next((p["id"] for p in self.pilotage.promotions(model=MODEL) if p["version"] == version), None)

        promotion = wait_for(f"a promotion of {MODEL}:{version}", look, timeout)
        self.narrator.good(f"event received, promotion {promotion} started")
        return promotion

    def _through(self, promotion: str) -> str:
        """Follow a promotion to its end in production, approving on the way."""
        found = self._follow(promotion, until=ENDED | {"awaiting_approval"})
        if found["phase"] != "awaiting_approval":
            raise NotObserved(f"{promotion} ended {found['phase']}: {found.get('message')}")
        announcement = wait_for("the announcement", lambda: self.approver.announcement(promotion))
        self.narrator.say(f"the team's channel says: {announcement['title']}")
        self.narrator.good(f"Grace Hopper approved {self.approver.decide(announcement, 'approve', 'gates passed, go')}")
        found = self._follow(promotion, until=ENDED, bakes=True)
        if found["phase"] != "succeeded":
            raise NotObserved(f"{promotion} ended {found['phase']}: {found.get('message')}")
        traffic = self.scientist.traffic(ENDPOINT)
        if sum(traffic.values()) != 100 or traffic.get(found["deployment"]) != 100:
            raise NotObserved(f"traffic is {traffic}, not 100 % to {found['deployment']}")
        self.narrator.good(f"live: {traffic}")
        return promotion

    def _follow(self, promotion: str, until: set[str], bakes: bool = False) -> dict[str, Any]:
        """Tell each passport entry as it is written, until a phase is reached."""

        def look() -> dict[str, Any] | None:
            found = self.pilotage.promotion(promotion)
            told = self._told.get(promotion, 0)
            for step in found["steps"][told:]:
                self.narrator.say(f"  {step['kind']:<8}{describe(step)}", "dim")
                for result in step["data"]["results"] if step["step"] == "staging.gates" else ():
                    self.narrator.say(f"    gate  {result['gate']} {result['outcome']}: {result['message']}", "dim")
            self._told[promotion] = len(found["steps"])
            return found if found["phase"] in until else None

        what = f"{promotion} in one of {sorted(until)}"
        if bakes:
            return self._with_time(what, look, "PT30M", "each step of the rollout bakes before it is checked", rounds=20)
        return wait_for(what, look, timeout=180)

    def _with_time[T](self, what: str, look: Callable[[], T | None], duration: str, why: str, rounds: int = 10) -> T:
        """Look; while nothing is to be seen for three seconds, let virtual time pass."""
        for _ in range(rounds):
            try:
                return wait_for(what, look, timeout=3)
            except NotObserved:
                self._advance(duration, why)
        return wait_for(what, look, timeout=60)

    def _advance(self, duration: str, why: str) -> None:
        httpx.post(f"{self.env['EMULATOR_URL']}/_emulator/clock", json={"advance": duration}, verify=self.env["SSL_CERT_FILE"],
                   timeout=30, trust_env=False).raise_for_status()
        self.narrator.say(f"  clock   {duration} pass in virtual time: {why}", "dim")

    def _scores_like(self, folder: Any, season: str) -> None:
        rows = self.scientist.rows(season)
        status, live = self.scientist.score(ENDPOINT, rows)
        offline = self.scientist.predict(folder, rows)
        apart = max(abs(a - b) for a, b in zip(live, offline, strict=True)) if status == 200 else float("inf")
        if status != 200 or apart > 1e-9:
            raise NotObserved(f"the endpoint answered {status} and differs from the offline prediction by {apart}")
        self.narrator.good(f"scored {len(rows['data'])} flights through the live endpoint; equal to the model's offline prediction "
                           f"(first: {live[0]:.1f} minutes)")


def describe(step: dict[str, Any]) -> str:
    """One passport entry in a line."""
    data = step["data"]
    match step["step"]:
        case "staging.gates":
            passed = sum(result["outcome"] == "passed" for result in data["results"])
            return f"{passed} of {len(data['results'])} gates passed"
        case "phase":
            return f"phase {step['phase']}" + (f": {data['message']}" if data.get("message") else "")
        case "rollout.traffic" | "rollback.traffic":
            return f"{step['step']} {data['traffic']}"
        case "plan":
            return f"plan {data['hash'][:19]} -> {data['plan']['endpoint']} as {data['plan']['deployment']}"
        case "approval":
            return f"approval {data['outcome']} by {', '.join(data['tally']['approvals'])}"
        case _:
            return step["step"]
