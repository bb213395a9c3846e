"""Intake: what an event or a person asks for becomes a durable instance, once.

Claim, then start, then say so. The claim is a create-only record that holds the whole request, under an id
that is derived from what is meant (workspace, model, version, policy, attempt), not from the event that
said it. So duplicates, late redeliveries and restarts find the claim, and a start that was lost on the way
is made good from it, by the next duplicate or by the outbox's timer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pilotage.domain.approval import Vote
from pilotage.domain.assets import AssetRef, Frozen
from pilotage.domain.canonical import digest
from pilotage.domain.drift import DriftAlert
from pilotage.domain.names import child_id, endpoint_key, promotion_id, rollback_id
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.policy import PromotionPolicy
from pilotage.domain.targeting import drifting
from pilotage.errors import Conflict, InvalidEvent, InvalidInput, NotFound, PilotageError
from pilotage.events import ModelRegistered
from pilotage.ledger import Ledger, Wake
from pilotage.messages import (
    ALERT_EVENT,
    ROLLBACK_EVENT,
    VOTE_EVENT,
    DriftRequest,
    PromotionRequest,
    PromotionRow,
    RollbackRequest,
    Trigger,
    rollout_step,
)
from pilotage.ports import Clock, Orchestrator, PolicySource

log = logging.getLogger("pilotage.intake")


ENDED = frozenset({"COMPLETED", "FAILED", "TERMINATED"})
"""Runtime statuses after which nothing happens by itself."""


class Outcome(StrEnum):
    """What became of a request."""

    STARTED = "started"
    ALREADY_STARTED = "already_started"
    JOINED = "joined"
    """An alert that an open incident takes in."""
    IGNORED = "ignored"


class IntakeItem(Frozen):
    """One instance that the request is about."""

    id: str
    outcome: Outcome
    policy: str = ""


class IntakeResult(Frozen):
    """Every instance that the request is about; none, and the reason, when it is about nothing here."""

    items: list[IntakeItem] = []
    reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """`started` when anything was started."""
        outcomes = {item.outcome for item in self.items}
        return next((outcome for outcome in Outcome if outcome in outcomes), Outcome.IGNORED)


class Intake:
    """`workspace_id` gives the ARM id of a workspace by its name, as the settings have it; it raises InvalidInput."""

    def __init__(
        self, policies: PolicySource, ledger: Ledger, clock: Clock, orchestrator: Orchestrator, workspace_id: Callable[[str], str]
    ) -> None:
        self._policies, self._ledger, self._clock = policies, ledger, clock
        self._orchestrator, self._workspace_id = orchestrator, workspace_id

    # --- promotions -------------------------------------------------------------------------------

    def model_registered(self, event: ModelRegistered) -> IntakeResult:
        """Start a promotion for each policy that covers the model's name and home.

        Raises InvalidEvent for a workspace that is not ours, or when the policies that might cover it can't be read.
        """
        try:
            known = self._workspace_id(event.workspace)
        except InvalidInput as error:
            raise InvalidEvent(f"the event's workspace is not ours: {error}") from None
        if known.casefold() != event.workspace_id.casefold():
            raise InvalidEvent(f"the event is about {event.workspace_id}, and the settings say that {event.workspace} is {known}")
        source = AssetRef(name=event.model, version=event.version, workspace=event.workspace)
        trigger = Trigger(kind="event", id=event.event_id, at=self._now())
        covering = self._covering(source)
        if not covering:
            # Broken guardrails raise here: that is ours to mend, and Event Grid keeps the event until then.
            self._policies.guardrails()
            if problems := list(self._policies.problems()):
                raise InvalidEvent(f"no readable policy covers {source}, and these can't be read: {'; '.join(problems)}; mend them, "
                                   "then promote the version by hand")
            return IntakeResult(reason=f"no policy covers {source}")
        return IntakeResult(items=[self.start(self._request(source, policy, trigger)) for policy in covering])

    def by_hand(
        self, *, model: str, version: str, workspace: str | None, registry: str | None, policy: str | None, actor: str
    ) -> PromotionRequest:
        """The promotion that somebody asks for, not yet started: see who may before calling `start`.

        Raises InvalidInput (which names the field and the fix) and NotFound.
        """
        if workspace and registry:
            raise InvalidInput("workspace and registry are both given: name the one in which the version is registered")
        found = [
            (candidate, source) for candidate in self._named(policy)
            if (source := _source(candidate, model, version, workspace, registry)) is not None
        ]
        if not found:
            home = f"workspace {workspace}" if workspace else f"registry {registry}" if registry else "any workspace or registry"
            raise NotFound(f"no policy{f' {policy}' if policy else ''} covers the model {model} in {home}: see `pilotage policy check`")
        if len(found) > 1:
            names = ", ".join(candidate.name for candidate, _ in found)
            raise InvalidInput(f"several policies cover the model {model} ({names}): name one in the field policy")
        chosen, source = found[0]
        return self._request(source, chosen, Trigger(kind="manual", at=self._now(), actor=actor))

    def again(self, row: PromotionRow, actor: str) -> PromotionRequest:
        """The next attempt of a promotion that ended, under its policy as it is now. Raises Conflict, NotFound."""
        phase = PromotionPhase(row.phase)
        if not phase.retryable:
            why = "has succeeded" if phase is PromotionPhase.SUCCEEDED else f"is {phase.value}"
            raise Conflict(f"{row.id} {why}: only a promotion that ended without success can be retried"
                           if phase.terminal else f"{row.id} {why}: wait for its end, or reject it first")
        policy = self._named(row.policy)[0]
        source = row.source
        if not policy.match.covers(workspace=source.workspace, registry=source.registry, model=source.name):
            raise Conflict(f"policy {policy.name} no longer covers {source}: correct its match, or promote by hand under another policy")
        return self._request(source, policy, Trigger(kind="retry", at=self._now(), actor=actor), row.attempt + 1, row.id)

    def start(self, request: PromotionRequest) -> IntakeItem:
        """Claim and start a promotion; one that was started before, in whatever state, is left alone."""
        outcome = self._run(request.id, "promotion", request.wire())
        return IntakeItem(id=request.id, outcome=outcome, policy=str(request.policy["name"]))

    def _request(
        self, source: AssetRef, policy: PromotionPolicy, trigger: Trigger, attempt: int = 1, previous: str | None = None
    ) -> PromotionRequest:
        home = self._workspace_id(source.workspace) if source.workspace else f"azureml://registries/{source.registry}"
        text = policy.wire()
        return PromotionRequest(
            id=promotion_id(home, source.name, source.version, policy.name, attempt), attempt=attempt, source=source,
            policy=text, policy_hash=digest(text), trigger=trigger, previous=previous)

    def _covering(self, source: AssetRef) -> list[PromotionPolicy]:
        return [policy for policy in self._policies.policies()
                if policy.match.covers(workspace=source.workspace, registry=source.registry, model=source.name)]

    def _named(self, name: str | None) -> list[PromotionPolicy]:
        policies = list(self._policies.policies())
        if name is None:
            return policies
        found = [policy for policy in policies if policy.name.casefold() == name.casefold()]
        if not found:
            told = f" ({'; '.join(problems)})" if (problems := list(self._policies.problems())) else ""
            raise NotFound(f"there is no policy {name}; there are {', '.join(p.name for p in policies) or 'none'}{told}")
        return found

    # --- drift ------------------------------------------------------------------------------------

    def alert(self, alert: DriftAlert) -> IntakeResult:
        """Open a drift incident, or let the open one take the alert in. Raises InvalidEvent when nobody can tell whom it is for."""
        targets = drifting(alert, self._policies.policies(), self._is_live)
        if not targets.policies:
            self._policies.guardrails()
            raise InvalidEvent("; ".join([targets.reason, *self._policies.problems()]))
        return IntakeResult(items=[self._incident(alert, policy) for policy in targets.policies])

    def _is_live(self, policy: PromotionPolicy) -> bool | None:
        row = self._ledger.endpoints.get(policy.production.workspace, policy.production.target.endpoint)
        return None if row is None else row.live is not None

    def _incident(self, alert: DriftAlert, policy: PromotionPolicy) -> IntakeItem:
        stage = policy.production
        key = endpoint_key(stage.workspace, stage.target.endpoint)
        incident, opened = self._ledger.incidents.alert(policy.name, key, alert)
        text = policy.wire()
        request = DriftRequest(id=incident, policy=text, policy_hash=digest(text), alert=alert, opened_at=self._now(), endpoint_key=key)
        # Also an alert that joins: whoever opened the incident may have died before it was claimed.
        outcome = self._run(incident, "drift", request.wire())
        if outcome is Outcome.ALREADY_STARTED and not opened:
            self._orchestrator.raise_event(incident, ALERT_EVENT, {"id": alert.hash})
            outcome = Outcome.JOINED
        return IntakeItem(id=incident, outcome=outcome, policy=policy.name)

    # --- rollback ---------------------------------------------------------------------------------

    def rollback(self, row: PromotionRow, reason: str, actor: str, *, force: bool = False) -> IntakeItem:
        """Start taking a promotion back; a rollback of it that is under way, or has restored, is the one that is meant.

        Raises Conflict when the promotion is not what serves its endpoint, naming what does; `force` goes ahead.
        """
        number, latest = self._latest_rollback(row.id)
        if latest is not None and (self._is_under_way(latest) or (not force and self._has_restored(latest))):
            return self._roll_back(latest, row, reason, actor)
        if not PromotionPhase(row.phase).touches_production:
            raise Conflict(f"{row.id} is {row.phase} and has not changed production: there is nothing to roll back")
        if not force:
            self._refuse_other(row)
        return self._roll_back(rollback_id(row.id, number + 1), row, reason, actor)

    def _roll_back(self, instance: str, row: PromotionRow, reason: str, actor: str) -> IntakeItem:
        message = RollbackRequest(id=instance, promotion=row.id, workspace=row.workspace, endpoint=row.endpoint,
                                  reason=reason, actor=actor, at=self._now())
        outcome = self._run(instance, "rollback", message.wire())
        try:
            # Only to end a bake early: the epoch is what stops the rollout.
            self._orchestrator.raise_event(child_id(row.id, rollout_step(row.rollouts)), ROLLBACK_EVENT, {"id": instance})
        except PilotageError as error:
            log.warning("the rollout of %s could not be told of %s: %s", row.id, instance, error)
        return IntakeItem(id=instance, outcome=outcome, policy=row.policy)

    def _latest_rollback(self, promotion: str) -> tuple[int, str | None]:
        number = 0
        while self._ledger.claims.get(rollback_id(promotion, number + 1)) is not None:
            number += 1
        return number, rollback_id(promotion, number) if number else None

    def _is_under_way(self, instance: str) -> bool:
        state = self._orchestrator.state(instance)
        return state not in ENDED and (state is not None or not self._has_run(instance))

    def _has_restored(self, rollback: str) -> bool:
        return any(entry.step == "rollback" and entry.kind == "outcome" and entry.data.get("restored")
                   for entry in self._ledger.passports.entries(rollback))

    def _refuse_other(self, row: PromotionRow) -> None:
        """Last-good is what served before this promotion: restoring it under a later one would undo that one unseen."""
        owned = self._ledger.endpoints.get(row.workspace, row.endpoint)
        if owned is None or owned.owner == row.id:
            return
        later = owned.live.promotion if owned.live else None
        if owned.owner and self._ledger.promotions.get(owned.owner) and self._ledger.last_good.get(owned.owner):
            later = owned.owner  # a rollout that may have moved traffic; one that has not is simply stopped
        if later is not None and later != row.id:
            raise Conflict(f"{row.id} does not serve {row.workspace}/{row.endpoint}, {later} does: roll that one back, "
                           "or send force to undo both")

    # --- the outbox -------------------------------------------------------------------------------

    def deliver_outbox(self) -> dict[str, int]:
        """Make good what was claimed and not started, and voted and not told. One that fails does not hold the others up."""
        done = {"started": 0, "woken": 0, "failed": 0}
        for claim in self._ledger.claims.pending():
            try:
                outcome = self._run(claim.instance_id, claim.orchestration, claim.message)
                done["started"] += outcome is Outcome.STARTED
            except PilotageError as error:
                done["failed"] += 1
                log.warning("%s is claimed and could not be started: %s", claim.instance_id, error)
        for wake in self._ledger.approvals.pending_wakes():
            try:
                self.wake(wake)
                done["woken"] += 1
            except PilotageError as error:
                done["failed"] += 1
                log.warning("%s could not be told of a vote: %s", wake.promotion, error)
        return done

    def wake(self, vote: Vote | Wake) -> None:
        """Tell the approval orchestration that there is a vote to count."""
        wake = Wake.of(vote) if isinstance(vote, Vote) else vote
        self._ledger.approvals.adopt(wake)  # its writer may have died before it counted
        self._orchestrator.raise_event(wake.instance, VOTE_EVENT, {"id": wake.voter})
        self._ledger.approvals.woken(wake)

    # --- claim, then start ------------------------------------------------------------------------

    def _run(self, instance: str, orchestration: str, message: dict[str, Any]) -> Outcome:
        """Durable when it returns. An instance that exists in any state, or has left evidence, is not started again."""
        claim = self._ledger.claims.claim(instance, orchestration, message)
        if not claim.created and self._has_run(instance):
            self._ledger.claims.started(instance)
            return Outcome.ALREADY_STARTED
        if claim.orchestration == "promotion":
            self._ledger.promotions.put(_accepted(PromotionRequest.read(claim.message)))
        self._orchestrator.start(claim.orchestration, instance, claim.message)
        self._ledger.claims.started(instance)
        return Outcome.STARTED

    def _has_run(self, instance: str) -> bool:
        """The durable state may have been purged since; evidence never is."""
        return self._orchestrator.state(instance) is not None or self._ledger.passports.tail(instance).sequence > 0

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="milliseconds")


def _accepted(request: PromotionRequest) -> PromotionRow:
    """The row of a promotion that is claimed; its orchestration's first entry (sequence 0) takes over from it."""
    policy = request.parsed_policy()
    return PromotionRow(
        id=request.id, model=request.source.name, version=request.source.version, source=request.source, policy=policy.name,
        team=policy.team, phase=PromotionPhase.ACCEPTED.value, attempt=request.attempt, sequence=-1,
        created_at=request.trigger.at, updated_at=request.trigger.at, workspace=policy.production.workspace,
        endpoint=policy.production.target.endpoint, previous=request.previous, trigger=request.trigger.kind)


def _source(policy: PromotionPolicy, model: str, version: str, workspace: str | None, registry: str | None) -> AssetRef | None:
    """The version in the home that was named, or else in the policy's own; None when the policy does not cover it."""
    if workspace is None and registry is None:
        workspace, registry = policy.match.workspace, policy.match.registry
    if not policy.match.covers(workspace=workspace, registry=registry, model=model):
        return None
    return AssetRef(name=model, version=version, workspace=workspace, registry=registry)
