"""Who may vote, which votes count, what they come to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.approval import Ballot, Decision, Tally, Vote, conflict_of_interest, named, naming_groups, standing, unmet
from pilotage.domain.approval import tally as count
from pilotage.domain.assets import Submitter
from pilotage.domain.policy import ApprovalRule

PLAN = {"promotion": "p", "stage": "production", "plan_hash": "sha256:1", "round": 1}
ADA = Submitter(role="registrant", display_name="Ada", object_id="oid-ada")
NOBODY = Submitter(role="training_job_owner", display_name="some job", object_id=None)


def rule(quorum: int = 2, **changes: Any) -> ApprovalRule:
    return ApprovalRule.model_validate({"quorum": quorum, "approvers": ["group:leads", "user:oid-linus"]} | changes)


def tally(rule: ApprovalRule, votes: list[Vote], *, submitters: list[Submitter], **about: Any) -> Tally:
    return count(Ballot(**about, rule=rule, submitters=submitters, opened_at="2026-01-05T08:00:00+00:00",
                        expires_at="2026-01-08T08:00:00+00:00"), votes)


def vote(voter: str = "oid-grace", decision: str = "approve", groups: tuple[str, ...] = ("leads",), **changes: Any) -> Vote:
    about = {**PLAN, "voter": voter, "groups": list(groups), "decision": decision, "cast_at": "2026-01-05T09:00:00+00:00", "reason": "r"}
    return Vote.model_validate(about | changes)


@pytest.mark.parametrize(("votes", "quorum", "state", "refused"), [
    ([], 1, "pending", {}),
    ([vote()], 1, "approved", {}),
    ([vote()], 2, "pending", {}),
    ([vote(), vote("OID-GRACE")], 2, "pending", {}),
    ([vote(), vote("oid-linus", groups=())], 2, "approved", {}),
    ([vote(), vote("oid-zoe", groups=())], 2, "pending", {"oid-zoe": "the policy does not name this voter"}),
    ([vote(), vote("oid-ada")], 2, "pending", {"oid-ada": "the voter is this model's registrant"}),
    ([vote(), vote("OID-ADA")], 2, "pending", {"oid-ada": "the voter is this model's registrant"}),
    ([vote(), vote("oid-linus", plan_hash="sha256:2")], 2, "pending", {"oid-linus": "the vote is for another plan"}),
    ([vote(), vote("oid-linus", round=2)], 2, "pending", {"oid-linus": "the vote is for another plan"}),
    ([vote(), vote("oid-linus", promotion="q")], 2, "pending", {"oid-linus": "the vote is for another plan"}),
    ([vote(), vote("oid-linus", stage="staging")], 2, "pending", {"oid-linus": "the vote is for another plan"}),
    ([vote(), vote("oid-linus", "reject")], 1, "rejected", {}),
    ([vote("oid-zoe", "reject", groups=())], 1, "pending", {"oid-zoe": "the policy does not name this voter"}),
    ([vote("oid-ada", "reject")], 1, "pending", {"oid-ada": "the voter is this model's registrant"}),
])
def test_counting(votes: list[Vote], quorum: int, state: str, refused: dict[str, str]) -> None:
    counted = tally(rule(quorum), votes, submitters=[ADA], **PLAN)
    assert (counted.state, counted.refused) == (state, refused)


def test_a_rejection_says_by_whom_and_why() -> None:
    counted = tally(rule(), [vote(), vote("oid-linus", "reject", reason="too slow")], submitters=[ADA], **PLAN)
    assert (counted.rejected_by, counted.reason, counted.approvals) == ("oid-linus", "too slow", ["oid-grace"])


def test_a_submitter_who_is_unknown_could_be_anybody() -> None:
    counted = tally(rule(1), [vote(), vote("oid-linus")], submitters=[ADA, NOBODY], **PLAN)
    assert counted.state == "pending"
    assert set(counted.refused) == {"oid-grace", "oid-linus"}
    assert "guardrails.yaml" in str(conflict_of_interest([NOBODY], "oid-grace"))


def test_the_rule_names_people_and_groups_without_case() -> None:
    names = rule().approvers
    assert named(names, "OID-Linus", [])
    assert named(names, "oid-zoe", ["other", "Leads"])
    assert not named(names, "leads", ["oid-linus"]), "a group's name is nobody's object id"
    assert naming_groups(names, ["staff", "Leads"]) == ["Leads"], "the other groups are nobody's business"


# --- the rule's other parts -------------------------------------------------------------------------

BOTH = {"one_of_each": ["group:leads", "group:risk"]}
LATER = {"escalate": {"after": "P1D", "to": ["group:directors"]}}
GLASS = {"break_glass": {"approvers": ["group:on-call"]}}
DAY_2 = "2026-01-06T08:00:00+00:00"


@pytest.mark.parametrize(("changes", "votes", "state", "missing"), [
    (BOTH, [vote(), vote("oid-mary", groups=("leads",))], "pending", ["group:risk"]),
    (BOTH, [vote(), vote("oid-mary", groups=("risk",))], "approved", []),
    (BOTH, [vote(groups=("leads", "risk")), vote("oid-mary", groups=("leads",))], "approved", []),
    (BOTH, [vote(groups=("leads", "risk"))], "pending", ["group:risk"]),
    (LATER, [vote(), vote("oid-dora", groups=("directors",))], "pending", []),
    (LATER, [vote(), vote("oid-dora", groups=("directors",), cast_at=DAY_2)], "approved", []),
    ({}, [vote(), vote("oid-linus", groups=(), cast_at="2026-01-08T08:00:00+00:00")], "pending", []),
    ({}, [vote(), vote("oid-linus", groups=(), cast_at="2026-01-08T07:59:59.999+00:00")], "approved", []),
    ({}, [vote(), vote("oid-linus", groups=()), vote("oid-linus", "withdraw", groups=(), number=1)], "pending", []),
    ({}, [vote("oid-linus", "reject", groups=()), vote("oid-linus", "withdraw", groups=(), number=1), vote()], "pending", []),
    ({}, [vote("oid-linus", "reject", groups=()), vote("oid-linus", "withdraw", number=1), vote("oid-linus", number=2), vote()],
     "approved", []),
    (GLASS, [vote("oid-otto", "break_glass", groups=("on-call",))], "pending", []),
    (GLASS, [vote("oid-otto", "break_glass", groups=("on-call",)), vote("oid-olga", "break_glass", groups=("on-call",))], "approved", []),
    (GLASS, [vote("oid-otto", "break_glass", groups=("on-call",)), vote("oid-ada", "break_glass", groups=("on-call",))], "pending", []),
    (GLASS, [vote("oid-otto", "break_glass", groups=("on-call",)), vote("oid-otto", "break_glass", groups=("on-call",))], "pending", []),
    ({}, [vote("oid-otto", "break_glass", groups=("leads",)), vote("oid-olga", "break_glass", groups=("leads",))], "pending", []),
    (GLASS, [vote("oid-otto", "break_glass", groups=("on-call",)), vote("oid-olga", "break_glass", groups=("on-call",)),
             vote("oid-linus", "reject")], "rejected", []),
])
def test_what_a_rule_may_ask_besides(changes: dict[str, Any], votes: list[Vote], state: str, missing: list[str]) -> None:
    counted = tally(rule(2, **changes), votes, submitters=[ADA], **PLAN)
    assert (counted.state, counted.missing) == (state, missing)


def test_the_glass_may_be_broken_though_a_submitter_is_unknown() -> None:
    votes = [vote(name, "break_glass", groups=("on-call",)) for name in ("oid-otto", "oid-olga")]
    counted = tally(rule(2, **GLASS), votes, submitters=[ADA, NOBODY], **PLAN)
    assert (counted.glass_broken, counted.broken_glass_by) == (True, ["oid-olga", "oid-otto"])


@pytest.mark.parametrize(("votes", "approvals", "refused"), [
    ([vote("oid-dirk", on_behalf_of="oid-grace")], ["oid-grace"], {}),
    ([vote("oid-dirk", on_behalf_of="oid-grace"), vote()], ["oid-grace"], {"oid-dirk": "the person on whose behalf"}),
    ([vote("oid-dirk", on_behalf_of="oid-grace"), vote("oid-zoe", on_behalf_of="OID-Grace")], ["oid-grace"],
     {"oid-zoe": "the person on whose"}),
    ([vote("oid-ada", on_behalf_of="oid-grace")], [], {"oid-ada": "the voter is this model's registrant"}),
    ([vote("oid-dirk", on_behalf_of="oid-ada")], [], {"oid-dirk": "who delegated the vote is this model's registrant"}),
    ([vote("oid-dirk", groups=(), on_behalf_of="oid-linus")], ["oid-linus"], {}),
    ([vote("oid-dirk", groups=(), on_behalf_of="oid-mary")], [], {"oid-dirk": "the policy does not name this voter"}),
])
def test_what_is_said_for_somebody_else_is_their_word(votes: list[Vote], approvals: list[str], refused: dict[str, str]) -> None:
    counted = tally(rule(2), votes, submitters=[ADA], **PLAN)
    assert counted.approvals == approvals
    assert counted.refused.keys() == refused.keys()
    assert all(counted.refused[name].startswith(why) for name, why in refused.items())


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.sets(st.sampled_from(["x", "y", "z"])), max_size=4),
       st.lists(st.sampled_from(["x", "y", "z"]), max_size=3))
def test_one_of_each_is_met_exactly_when_different_people_can_stand_for_them(people: dict[str, set[str]], wanted: list[str]) -> None:
    from itertools import permutations

    approvals = {name: vote(name, groups=tuple(sorted(groups))) for name, groups in people.items()}
    possible = any(all(group in people[person] for person, group in zip(order, wanted, strict=False))
                   for order in permutations(people, len(wanted))) if len(people) >= len(wanted) else False
    assert (unmet([f"group:{name}" for name in wanted], approvals) == []) == possible


# --- laws -------------------------------------------------------------------------------------------

VOTERS = st.sampled_from(["oid-grace", "OID-Grace", "oid-linus", "oid-ada", "oid-mary", "oid-zoe"])
VOTES = st.lists(st.builds(
    lambda voter, decision, groups, reason, plan: vote(voter, decision, groups, reason=reason, plan_hash=plan),
    VOTERS, st.sampled_from([Decision.APPROVE, Decision.REJECT, Decision.WITHDRAW]), st.sampled_from([(), ("leads",)]),
    st.sampled_from(["a", "b", ""]),
    st.sampled_from(["sha256:1", "sha256:1", "sha256:2"])), max_size=8)


def numbered(votes: list[Vote], before: list[Vote] | None = None) -> list[Vote]:
    """As the ledger keeps them: each voter's acts counted. Those of voters who are among `before` are left out."""
    known = {vote.voter.casefold() for vote in before or []}
    acts: dict[tuple[str, str], int] = {}
    found = []
    for one in votes:
        key = (one.voter.casefold(), one.plan_hash)
        if one.voter.casefold() not in known:
            found.append(one.model_copy(update={"number": acts.get(key, 0)}))
            acts[key] = acts.get(key, 0) + 1
    return found


@given(VOTES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(votes: list[Vote], quorum: int, random: Any) -> None:
    votes = numbered(votes)
    shuffled = list(votes)
    random.shuffle(shuffled)
    assert tally(rule(quorum), shuffled, submitters=[ADA], **PLAN) == tally(
        rule(quorum), votes, submitters=[ADA], **PLAN)


RANK = {"pending": 0, "approved": 1, "rejected": 2}


@given(VOTES, VOTES, st.integers(1, 4))
def test_more_votes_never_take_a_decision_back(votes: list[Vote], more: list[Vote], quorum: int) -> None:
    """Of other people: approved stays approved until somebody rejects; rejected stays rejected."""
    votes, more = numbered(votes), numbered(more, votes)
    before = tally(rule(quorum), votes, submitters=[ADA], **PLAN)
    after = tally(rule(quorum), [*votes, *more], submitters=[ADA], **PLAN)
    assert RANK[after.state] >= RANK[before.state]
    assert set(before.approvals) <= set(after.approvals)


@given(VOTES, st.integers(1, 4))
def test_nobody_counts_twice_and_submitters_never(votes: list[Vote], quorum: int) -> None:
    votes = numbered(votes)
    assert len({vote.voter.casefold() for vote in standing(votes)}) <= len(standing(votes))
    counted = tally(rule(quorum), votes, submitters=[ADA], **PLAN)
    assert len(set(counted.approvals)) == len(counted.approvals)
    assert "oid-ada" not in counted.approvals
    assert counted.rejected_by != "oid-ada"
    assert (counted.state == "approved") == (counted.rejected_by is None and len(counted.approvals) >= quorum)
