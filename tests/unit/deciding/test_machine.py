"""Votes, withdrawals, escalation, expiry, new plans and supersession in any order, beside a model of a few lines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pilotage.deciding import Ask, Deciding
from pilotage.domain.access import Actor
from pilotage.domain.approval import Decision
from pilotage.domain.assets import Submitter
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import Conflict, Forbidden, Gone
from tests.support.desk import Desk

PEOPLE = {  # who: (groups, may vote from the start, is asked on escalation)
    "grace": (["ml-leads"], True, False), "linus": (["ml-leads"], True, False), "rosa": (["risk"], True, False),
    "dora": (["directors"], False, True), "ada": (["ml-leads"], True, False), "zoe": ([], False, False)}
RULES: dict[str, Any] = {"one_of_each": ["group:ml-leads", "group:risk"], "escalate": {"after": "P1D", "to": ["group:directors"]},
                         "break_glass": {"approvers": ["group:ml-leads", "group:directors"]}}
ADA = Submitter(role="registrant", display_name="Ada", object_id="oid-ada")


class Approving(RuleBasedStateMachine):
    """The real records, rows and rules; the model keeps who said what last, and how it ended."""

    @initialize()
    def open(self) -> None:
        self.desk = Desk()
        self.row = self.desk.promotion(PromotionPhase.AWAITING_APPROVAL)
        self.deciding = Deciding(self.desk.app(), lambda _: None)
        self.round, self.superseded = 0, False
        self._ask()

    def _ask(self) -> None:
        self.round += 1
        self.request, self.link = self.desk.open_approval(
            self.row, round=self.round, quorum=3, submitters=(ADA,), steps=100 - self.round, approvers=("group:ml-leads",), **RULES)
        self.said: dict[str, Decision] = {}
        self.ended: str | None = None

    # --- the model ------------------------------------------------------------------------------------

    def _hours(self) -> float:
        start = self.desk.clock.now().replace(day=5, hour=8, minute=self.round, second=0, microsecond=0)
        return (self.desk.clock.now() - start) / timedelta(hours=1)

    def _is_over(self) -> bool:
        """The end is the request's own: rounds are opened minutes apart, and end together."""
        return self.desk.clock.now() >= datetime.fromisoformat(self.request.expires_at)

    def _may(self, who: str, decision: Decision) -> bool:
        groups, from_start, escalated = PEOPLE[who]
        if who == "ada":
            return False
        if decision is Decision.BREAK_GLASS:
            return bool({"ml-leads", "directors"} & set(groups))
        return from_start or (escalated and self._hours() >= 24)

    def _outcome(self, final: bool) -> str | None:
        voters = {who for who, decision in self.said.items() if decision is Decision.APPROVE}
        if Decision.REJECT in self.said.values():
            return "rejected"
        leads = {who for who in voters if "ml-leads" in PEOPLE[who][0]}
        by_rule = len(voters) >= 3 and bool(leads) and "rosa" in voters
        glass = sum(decision is Decision.BREAK_GLASS for decision in self.said.values())
        if by_rule or glass >= 2:
            return "approved"
        return "superseded" if self.superseded else "expired" if final else None

    # --- what may happen --------------------------------------------------------------------------------

    @rule(who=st.sampled_from(sorted(PEOPLE)), decision=st.sampled_from(list(Decision)), fresh=st.booleans())
    def says(self, who: str, decision: Decision, fresh: bool) -> None:
        # What the link holds; when it ends is tried in unit/identity.
        nonce = f"n{len(self.desk.records.contents)}" if fresh else "one"
        claims = self.desk.tickets.issued[self.link][0].model_copy(update={"nonce": nonce})
        before, late = self.said.get(who), self.ended is not None or self.superseded or self._is_over()
        repeats = before is decision
        try:
            self.deciding.decide(Actor(object_id=f"oid-{who}", roles=["Pilotage.Approver"], groups=PEOPLE[who][0]), self.row, claims,
                                 Ask(decision=decision, reason=f"{decision}"))
        except Forbidden:
            refused = not self._may(who, decision)
        except Conflict:
            refused = True
        except Gone:
            refused = late
        else:
            refused = None
        assert refused is not False
        if refused:
            return
        assert self._may(who, decision) or decision is Decision.WITHDRAW
        assert repeats or not late
        if decision is Decision.WITHDRAW:
            self.said.pop(who, None)
        else:
            assert before in (None, decision), "a vote stands until it is withdrawn"
            self.said[who] = decision

    @rule(hours=st.sampled_from([1, 5, 23, 24]))
    def time_passes(self, hours: int) -> None:
        self.desk.clock.advance(timedelta(hours=hours))

    @rule()
    def is_counted(self) -> None:
        final = self._is_over()
        _, closed = self.desk.ledger.approvals.settle(self.request, self.desk.clock.now().isoformat(), final=final)
        if self.ended is None:
            self.ended = self._outcome(final)
        assert (closed.outcome if closed else None) == self.ended

    @precondition(lambda self: not self.superseded)
    @rule()
    def a_newer_version_asks(self) -> None:
        self.desk.ledger.approvals.supersede(self.row.id, "promote-air-time-2-abc-1")
        self.superseded = True

    @precondition(lambda self: self.ended == "approved" and self.round < 4 and self._hours() < 70)
    @rule()
    def the_plan_changes(self) -> None:
        self._ask()

    @invariant()
    def what_ended_stays_so(self) -> None:
        closed = self.desk.ledger.approvals.closed(self.request)
        assert (closed.outcome if closed else None) == self.ended

    @invariant()
    def nobody_is_counted_whom_the_rule_does_not_let(self) -> None:
        found = self.desk.ledger.approvals.closed(self.request)
        if found is not None and found.outcome == "approved":
            assert "oid-ada" not in found.tally.approvals + found.tally.broken_glass_by
            assert "oid-zoe" not in found.tally.approvals + found.tally.broken_glass_by


Approving.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestApproving = Approving.TestCase
