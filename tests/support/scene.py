"""The whole app in one process and virtual time: real orchestrations, activities, intake and ledger, on doubles of Azure.

A scene can be forked at any moment: the copy has the same stores, world and task hub, and goes its own way.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

from activities.registry import ACTIVITIES
from orchestrations import ORCHESTRATORS
from pilotage.bootstrap import App, use
from pilotage.domain.approval import Decision, Vote
from pilotage.domain.assets import AssetRef
from pilotage.domain.drift import DriftAlert
from pilotage.domain.passport import Entry, verify_chain
from pilotage.domain.policy import Guardrails, PromotionPolicy
from pilotage.intake import Intake
from pilotage.ledger import Ledger
from pilotage.messages import EndpointRow, PromotionRequest, PromotionRow, SweepRequest
from tests.support.desk import SETTINGS
from tests.support.fakes import Asset, AzureMl
from tests.support.hub import Durable, TaskHub
from tests.support.memory import (
    SIGNER,
    FixedClock,
    MemoryPolicies,
    MemoryRecords,
    MemoryRows,
    MemoryTickets,
    RecordingNotifier,
    StaticIdentity,
)

DEV, STG, PROD, SHARED = "mlw-dev", "mlw-staging", "mlw-prod", "shared-registry"
MODEL, ENDPOINT, STAGING_ENDPOINT = "air-time", "air-time", "air-time-stg"

POLICY: dict[str, Any] = {
    "apiVersion": "pilotage/v1", "name": "air-time", "scenario": "tabular", "registry": SHARED,
    "match": {"workspace": DEV, "model": MODEL, "tags": {"candidate": "true"}},
    "environment": "azureml:air-time-env@latest",
    "stages": [
        {"name": "staging", "workspace": STG, "target": {"endpoint": STAGING_ENDPOINT},
         "gates": [{"smoke": {"samples": "azureml:requests@latest"}},
                   {"metric": {"metric": "mae", "holdout": "azureml:holdout@latest", "target": "y", "max": 0.5, "min_rows": 10}}]},
        {"name": "production", "workspace": PROD, "target": {"endpoint": ENDPOINT},
         "approval": {"quorum": 1, "approvers": ["group:ml-leads"], "expires": "P3D"},
         "rollout": {"steps": [{"traffic": 10, "for": "PT10M"}, {"traffic": 100, "for": "PT30M"}],
                     "check": {"samples": "azureml:requests@latest"}, "keep_previous": "PT24H"}},
    ],
    "on_drift": {"action": "retrain", "job": "azureml:train@latest", "inputs": {"rows": "azureml:holdout@latest", "epochs": "3"},
                 "coalesce": "PT10M", "cooldown": "P1D", "budget": {"runs": 2, "per": "P7D"}, "timeout": "PT2H",
                 "promotion_within": "PT1H"},
}


def policy(**changes: Any) -> PromotionPolicy:
    """The usual policy with values changed by dotted path: policy(**{"stages.1.approval": "automatic"}). None removes."""
    text = copy.deepcopy(POLICY)
    for path, value in changes.items():
        *way, last = path.split(".")
        at: Any = text
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if value is None:
            at.pop(last)
        else:
            at[int(last) if isinstance(at, list) else last] = value
    return PromotionPolicy.model_validate(text)


Activity = Callable[[dict[str, Any]], dict[str, Any]]


class Scene:
    """One Pilotage with everything around it."""

    def __init__(self, rules: PromotionPolicy | None = None, guardrails: Guardrails | None = None) -> None:
        self.clock = FixedClock()
        self.records, self.rows = MemoryRecords(), MemoryRows()
        self.azure = AzureMl(self.clock)
        self.notifier = RecordingNotifier()
        self.tickets = MemoryTickets(self.clock)
        self.policies = MemoryPolicies([rules or policy()], guardrails or Guardrails(apiVersion="pilotage/v1"))
        self._furnish()
        self._open(Durable())

    def _open(self, durable: Durable) -> None:
        self.hub = TaskHub(ORCHESTRATORS, {name: self._mine(activity) for name, activity in ACTIVITIES.items()}, self.clock, durable)
        self.ledger = Ledger(self.records, self.rows, self.clock, signer=SIGNER)
        self.intake = Intake(self.policies, self.ledger, self.clock, self.hub, lambda name: SETTINGS.workspace(name).arm_id)
        self._app = self.app()

    def _mine(self, activity: Activity) -> Activity:
        """The activity as this scene's process runs it: forks live side by side."""

        def run(payload: dict[str, Any]) -> dict[str, Any]:
            use(self._app)
            return activity(payload)

        return run

    def _furnish(self) -> None:
        rows = "\n".join(["x,y", *(f"{n},{2 * n}" for n in range(20))]).encode()
        request = b'{"input_data": {"columns": ["x"], "index": [0, 1], "data": [[1], [2]]}}'
        dev = {"version": "1", "workspace": DEV}
        self.azure.put("data", AssetRef(name="holdout", **dev), Asset(files={"holdout.csv": rows}))
        self.azure.put("data", AssetRef(name="requests", **dev), Asset(files={"requests.jsonl": request + b"\n" + request}))
        self.azure.put("environments", AssetRef(name="air-time-env", **dev), Asset(image="mcr.example/env:1"))
        self.azure.put("components", AssetRef(name="train", **dev), Asset())

    def app(self, **parts: Any) -> App:
        azure = cast(Any, self.azure)
        usual: dict[str, Any] = {
            "settings": SETTINGS, "clock": self.clock, "policies": self.policies, "ledger": self.ledger, "notifier": self.notifier,
            "identity": StaticIdentity(), "tickets": self.tickets, "registry": azure, "deployments": azure, "jobs": azure}
        return App(**usual | parts)

    def fork(self) -> Scene:
        """The same scene a second time, from this moment on."""
        other = copy.copy(self)
        other.clock = FixedClock(self.clock.now())
        other.records, other.rows = MemoryRecords(), MemoryRows()
        other.records.contents = dict(self.records.contents)
        other.rows.contents, other.rows._written = dict(self.rows.contents), self.rows._written
        other.azure = self.azure.fork(other.clock)
        other.notifier = replace(self.notifier, sent=list(self.notifier.sent))
        other.tickets = MemoryTickets(other.clock, dict(self.tickets.issued))
        other._open(self.hub.durable.copy())
        return other

    # --- what people and Azure do -----------------------------------------------------------------------

    def register(self, version: str = "1", asset: Asset | None = None, *, name: str = MODEL) -> AssetRef:
        asset = asset or Asset()
        asset.files = asset.files or {"model.pkl": f"weights of {name} {version}".encode(), "MLmodel": b"flavors: {}"}
        asset.tags = {"candidate": "true"} | asset.tags
        ref = AssetRef(name=name, version=version, workspace=DEV)
        self.azure.put("models", ref, asset)
        return ref

    def start(self, version: str = "1", *, rules: PromotionPolicy | None = None) -> str:
        """Start the promotion of a registered version, as its event would; returns its id."""
        wanted = self.request(version)
        if rules is not None:
            wanted = wanted.model_copy(update={"policy": rules.wire()})
        self.intake.start(wanted)
        return wanted.id

    def request(self, version: str = "1") -> PromotionRequest:
        return self.intake.by_hand(model=MODEL, version=version, workspace=DEV, registry=None, policy=None, actor="oid-olive")

    def vote(self, promotion: str, voter: str = "oid-grace", decision: Decision = Decision.APPROVE, *, reason: str = "",
             groups: Sequence[str] = ("ml-leads",), wake: bool = True) -> None:
        """Cast a vote as the decision endpoint records it. A repeat is fine."""
        wanted = self.ledger.approvals.current(promotion)
        assert wanted is not None, "nothing is put before the voters"
        vote = Vote(promotion=promotion, stage=wanted.stage, plan_hash=wanted.plan_hash, round=wanted.round, voter=voter,
                    groups=list(groups), decision=decision, reason=reason, cast_at=self.clock.now().isoformat())
        self.ledger.approvals.vote(vote)
        if wake:
            self.intake.wake(vote)

    def promote(self, version: str = "1", asset: Asset | None = None) -> str:
        """The straight way: registered, approved, rolled out."""
        self.register(version, asset)
        promotion = self.start(version)
        self.finish(promotion)
        assert self.phase(promotion) == "succeeded", self.row(promotion).message
        return promotion

    def finish(self, promotion: str) -> None:
        """Run to the end, approving when asked."""
        self.hub.run(lambda: self.phase(promotion) == "awaiting_approval" and self.ledger.approvals.current(promotion) is not None)
        if self.phase(promotion) == "awaiting_approval":
            self.vote(promotion)
        self.hub.run()

    def until_traffic(self, promotion: str, share: int) -> None:
        """Run until the promotion's deployment takes this share, and its check of that step is still to come."""
        self.hub.run(lambda: self.phase(promotion) == "awaiting_approval" and self.ledger.approvals.current(promotion) is not None)
        self.vote(promotion)
        self.hub.run(lambda: any(entry.step == "rollout.traffic" and entry.kind == "outcome"
                                 and entry.data["traffic"].get(self.green(promotion)) == share for entry in self.entries(promotion)))

    def roll_back(self, promotion: str, *, force: bool = False) -> str:
        return self.intake.rollback(self.row(promotion), "it is too slow", "oid-olive", force=force).id

    def alert(self, key: str = "run-1") -> str:
        found = self.intake.alert(DriftAlert(source="model_monitor", key=key, workspace=PROD, endpoint=ENDPOINT, signal="data_drift"))
        return found.items[0].id

    def sweep(self, *terminated: str) -> dict[str, Any]:
        """One sweep to its end; what it answered."""
        number = sum(instance.name == "sweep" for instance in self.hub.durable.instances.values())
        name = f"sweep-{number + 1}"
        self.hub.start("sweep", name, SweepRequest(id=name, at=self.clock.now().isoformat(), terminated=list(terminated)).wire())
        self.hub.run(lambda: self.hub.durable.instances[name].over)
        return cast(dict[str, Any], self.hub.output(name))

    # --- what came of it ----------------------------------------------------------------------------------

    def row(self, promotion: str) -> PromotionRow:
        found = self.ledger.promotions.get(promotion)
        assert found is not None, f"{promotion} is not listed"
        return found

    def phase(self, promotion: str) -> str:
        return self.row(promotion).phase

    def green(self, promotion: str) -> str:
        return self.row(promotion).deployment

    def endpoint(self) -> EndpointRow:
        found = self.ledger.endpoints.get(PROD, ENDPOINT)
        assert found is not None, "no rollout ever asked for the endpoint"
        return found

    def traffic(self) -> dict[str, int]:
        return self.azure.traffic(PROD, ENDPOINT)

    def entries(self, passport: str) -> list[Entry]:
        return self.ledger.passports.entries(passport)

    def steps(self, passport: str) -> list[str]:
        """The entries as `kind step`, for asserting on the story."""
        return [f"{entry.kind} {entry.step}" for entry in self.entries(passport)]

    def last(self, passport: str, step: str) -> dict[str, Any]:
        """The data of the last outcome of a step."""
        return [entry.data for entry in self.entries(passport) if entry.step == step and entry.kind == "outcome"][-1]

    def sound(self) -> None:
        """What must be true whenever everything has come to rest."""
        passports = {name.split("/")[1] for name in self.records.names("passports/")}
        for passport in passports:
            entries = self.entries(passport)
            assert verify_chain(entries) == []
            assert [entry.sequence for entry in entries] == list(range(len(entries)))
            assert all(entry.passport == passport for entry in entries)
        for row in self.ledger.endpoints.all():
            assert sum(self.azure.traffic(row.workspace, row.endpoint).values()) in (0, 100)
        for token in self.tickets.issued:
            assert token not in self.hub.recorded(), "a link's token is in a history"
            assert not any(token.encode() in content for content in self.records.contents.values()), "a link's token is in the ledger"


def everything_replays(scene: Scene) -> None:
    """Each instance, gone through again from its history, asks turn by turn for what it asked for the first time."""
    for instance in scene.hub.durable.instances.values():
        assert scene.hub.replayed(instance.id) == instance.actions, instance.id


@cache
def _live(versions: tuple[str, ...]) -> tuple[Scene, tuple[str, ...]]:
    scene = Scene()
    return scene, tuple(scene.promote(version) for version in versions)


def live(*versions: str) -> tuple[Scene, tuple[str, ...]]:
    """A scene of its own in which these versions went into production one after the other, and their promotions."""
    scene, promotions = _live(versions)
    return scene.fork(), promotions
