from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import Conflict, InvalidEvent, InvalidInput, InvalidPolicy, NotFound, Unavailable
from pilotage.events import ModelRegistered, parse_workspace_event
from pilotage.intake import Intake, Outcome
from pilotage.messages import PromotionRequest
from tests.support.desk import DEV, SETTINGS, TOPIC, Desk, policy, registered
from tests.support.memory import Countdown, Crash, Crashing, MemoryPolicies


def event(version: Any = 1, **changes: Any) -> ModelRegistered:
    found = parse_workspace_event(registered(version, **changes))
    assert isinstance(found, ModelRegistered)
    return found


@pytest.fixture
def desk() -> Desk:
    return Desk()


def entered(desk: Desk, promotion: str) -> None:
    """The orchestration wrote its first entry."""
    desk.ledger.passports.append(Entry(passport=promotion, sequence=0, at="2026-01-05T09:00:00+00:00", kind="fact", step="accepted",
                                       phase="accepted"))


def test_a_registration_starts_a_promotion_and_lists_it(desk: Desk) -> None:
    result = desk.intake().model_registered(event())
    (item,) = result.items
    assert (item.outcome, item.policy) == (Outcome.STARTED, "air-time")
    orchestration, message = desk.orchestrator.instances[item.id]
    request = PromotionRequest.read(message)
    assert orchestration == "promotion"
    assert request.source == AssetRef(name="air-time", version="1", workspace="mlw-dev")
    assert request.parsed_policy() == policy()
    row = desk.ledger.promotions.get(item.id)
    assert row is not None
    assert (row.phase, row.sequence, row.model, row.version, row.endpoint) == ("accepted", -1, "air-time", "1", "air-time")
    assert desk.ledger.claims.pending() == []


def test_two_hundred_duplicates_and_permutations_are_one_promotion(desk: Desk) -> None:
    """Other event ids, times, casings, schemas, orders of keys, types of the version; some after its end."""
    dice = random.Random(7)
    outcomes = []
    for number in range(200):
        body = registered(dice.choice([3, "3"]), id=f"e-{dice.randrange(40)}", cloud=dice.random() < 0.5,
                          topic=dice.choice([DEV, DEV.upper(), DEV.lower()]), model=dice.choice(["air-time", "AIR-TIME"]))
        pairs = list(body["data"].items())
        dice.shuffle(pairs)
        body["data"] = {dice.choice([str, str.upper, str.lower])(name): value for name, value in pairs}
        found = parse_workspace_event(body)
        assert isinstance(found, ModelRegistered)
        (item,) = desk.intake().model_registered(found).items
        outcomes.append(item.outcome)
        if number == 50:
            entered(desk, item.id)
        if number == 100:
            desk.orchestrator.states[item.id] = "COMPLETED"
        if number == 150:
            del desk.orchestrator.states[item.id]  # purged
    assert desk.orchestrator.starts == 1
    assert outcomes.count(Outcome.STARTED) == 1
    assert len(desk.ledger.promotions.list()) == 1


def test_two_hundred_duplicates_at_once_are_one_promotion(desk: Desk) -> None:
    intake = desk.intake()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: intake.model_registered(event(id=f"e-{number}")), range(200)))
    assert len(desk.orchestrator.instances) == 1
    assert len(desk.ledger.promotions.list()) == 1
    assert desk.ledger.claims.pending() == []


def test_what_differs_in_meaning_is_another_promotion(desk: Desk) -> None:
    desk.policies.known = [policy(), policy("train-time")]
    for body in (event(1), event(2), event("2.0"), event(1, model="train-time")):
        desk.intake().model_registered(body)
    assert desk.orchestrator.starts == 4


def test_each_policy_that_covers_a_model_promotes_it(desk: Desk) -> None:
    desk.policies.known = [policy(), policy("canada", endpoint="air-time-ca", match={"workspace": "mlw-dev", "model": "air-*"})]
    result = desk.intake().model_registered(event())
    assert [item.policy for item in result.items] == ["air-time", "canada"]
    assert desk.orchestrator.starts == 2


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("change", range(1, 7))
def test_a_crash_at_any_write_ends_as_one_start(desk: Desk, change: int, before: bool) -> None:
    """The marker, the claim, the row's beginning, the row, the marker's removal: before and after each. Then the event comes again."""
    countdown = Countdown(change, before)
    crashed = False
    try:
        desk.intake(Crashing(desk.records, countdown), Crashing(desk.rows, countdown)).model_registered(event())
    except Crash:
        crashed = True
    assert crashed == (change <= 5), "the table above no longer names every write"
    desk.intake().model_registered(event(id="again"))
    assert desk.orchestrator.starts == 1
    assert [row.phase for row in desk.ledger.promotions.list()] == ["accepted"]
    assert desk.ledger.claims.pending() == []


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("change", range(1, 6))
def test_after_a_crash_the_outbox_starts_what_was_claimed(desk: Desk, change: int, before: bool) -> None:
    """Without a redelivery: what was answered nothing may be lost, what was claimed may not."""
    countdown = Countdown(change, before)
    with pytest.raises(Crash):
        desk.intake(Crashing(desk.records, countdown), Crashing(desk.rows, countdown)).model_registered(event())
    claimed = any(name.startswith("claims/") for name in desk.records.contents)
    for _ in range(3):
        desk.intake().deliver_outbox()
    assert desk.orchestrator.starts == int(claimed)
    assert len(desk.ledger.promotions.list()) == int(claimed)
    assert desk.ledger.claims.pending() == []


def test_a_crash_between_claim_and_start_keeps_the_first_request(desk: Desk) -> None:
    """The policy is edited between the crash and the redelivery: the claim's text holds."""
    def die(_: str) -> None:
        raise Crash

    desk.orchestrator.on_start = die
    with pytest.raises(Crash):
        desk.intake().model_registered(event())
    desk.orchestrator.on_start = None
    desk.policies.known = [policy(environment=None)]
    desk.intake().model_registered(event(id="again"))
    ((_, message),) = desk.orchestrator.instances.values()
    assert PromotionRequest.read(message).parsed_policy().environment == "azureml:air-time-env@latest"
    assert PromotionRequest.read(message).trigger.id == "e-1"


def test_a_backend_that_does_not_answer_fails_the_delivery_and_loses_nothing(desk: Desk) -> None:
    def unavailable(_: str) -> None:
        raise Unavailable

    desk.orchestrator.on_start = unavailable
    with pytest.raises(Unavailable):
        desk.intake().model_registered(event())
    assert desk.intake().deliver_outbox() == {"started": 0, "woken": 0, "failed": 1}
    desk.orchestrator.on_start = None
    assert desk.intake().deliver_outbox() == {"started": 1, "woken": 0, "failed": 0}
    assert desk.intake().deliver_outbox() == {"started": 0, "woken": 0, "failed": 0}


def test_one_claim_that_cannot_be_started_does_not_hold_the_others_up(desk: Desk) -> None:
    def die(_: str) -> None:
        raise Unavailable

    desk.orchestrator.on_start = die
    for version in (1, 2, 3):
        with pytest.raises(Unavailable):
            desk.intake().model_registered(event(version))

    def only_the_second_fails(instance: str) -> None:
        if "-2-" in instance:
            raise Unavailable

    desk.orchestrator.on_start = only_the_second_fails
    assert desk.intake().deliver_outbox() == {"started": 2, "woken": 0, "failed": 1}


def test_an_event_that_no_policy_covers_starts_nothing(desk: Desk) -> None:
    result = desk.intake().model_registered(event(model="other"))
    assert (result.outcome, result.reason) == (Outcome.IGNORED, "no policy covers workspaces/mlw-dev/other:1")
    assert desk.records.contents == {}


def test_an_event_that_an_unreadable_policy_may_cover_is_not_lost_silently(desk: Desk) -> None:
    desk.policies.broken = ["bad.yaml:3: match: this must be a mapping"]
    with pytest.raises(InvalidEvent, match=r"bad.yaml:3: match: this must be a mapping; mend them, then promote the version by hand"):
        desk.intake().model_registered(event(model="other"))


def test_broken_guardrails_fail_the_delivery_until_they_are_mended(desk: Desk) -> None:
    class Broken(MemoryPolicies):
        def guardrails(self) -> Any:
            raise InvalidPolicy("guardrails.yaml:2: ...")

    desk.policies = Broken([])
    with pytest.raises(InvalidPolicy):
        desk.intake().model_registered(event())


@pytest.mark.parametrize("topic", [DEV.replace("rg-pilotage", "rg-other"), DEV.replace("0001/", "0002/")])
def test_a_workspace_of_the_same_name_elsewhere_is_not_ours(desk: Desk, topic: str) -> None:
    with pytest.raises(InvalidEvent, match="the settings say that mlw-dev is"):
        desk.intake().model_registered(event(topic=topic))


def test_a_workspace_that_the_settings_do_not_list_is_not_ours(desk: Desk) -> None:
    listed = SETTINGS.model_copy(update={"workspaces": {"mlw-prod": None}})
    intake = Intake(desk.policies, desk.ledger, desk.clock, desk.orchestrator, lambda name: listed.workspace(name).arm_id)
    with pytest.raises(InvalidEvent, match="is not in PILOTAGE_WORKSPACES"):
        intake.model_registered(event(topic=f"{TOPIC}/mlw-secret"))


# --- by hand --------------------------------------------------------------------------------------


def ask(desk: Desk, **about: Any) -> PromotionRequest:
    return desk.intake().by_hand(**{"model": "air-time", "version": "1", "workspace": None, "registry": None, "policy": None,
                                    "actor": "oid-olive", **about})


def test_by_hand_and_by_event_are_one_promotion(desk: Desk) -> None:
    desk.intake().model_registered(event())
    item = desk.intake().start(ask(desk, workspace="MLW-DEV"))
    assert item.outcome is Outcome.ALREADY_STARTED
    assert desk.orchestrator.starts == 1


def test_a_version_of_a_registry_is_promoted_by_hand(desk: Desk) -> None:
    desk.policies.known = [policy("tickets", match={"registry": "shared-registry", "model": "tickets"})]
    request = ask(desk, model="tickets")
    assert request.source == AssetRef(name="tickets", version="1", registry="shared-registry")
    assert request.trigger.kind == "manual"
    assert request.trigger.actor == "oid-olive"
    assert desk.intake().start(request).outcome is Outcome.STARTED


@pytest.mark.parametrize(("about", "error", "message"), [
    ({"model": "nope"}, NotFound, "no policy covers the model nope in any workspace or registry"),
    ({"workspace": "mlw-x"}, NotFound, "no policy covers the model air-time in workspace mlw-x"),
    ({"registry": "r"}, NotFound, "no policy covers the model air-time in registry r"),
    ({"policy": "nope"}, NotFound, "there is no policy nope; there are air-time"),
    ({"workspace": "w", "registry": "r"}, InvalidInput, "workspace and registry are both given"),
])
def test_what_cannot_be_promoted_by_hand_says_why(desk: Desk, about: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(desk, **about)


def test_where_several_policies_cover_a_model_one_must_be_named(desk: Desk) -> None:
    desk.policies.known = [policy(), policy("canada", endpoint="air-time-ca", match={"workspace": "mlw-dev", "model": "air-*"})]
    with pytest.raises(InvalidInput, match=r"several policies cover the model air-time \(air-time, canada\): name one in the field policy"):
        ask(desk)
    assert ask(desk, policy="Canada").policy["name"] == "canada"


# --- again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [phase for phase in PromotionPhase if phase.retryable])
def test_a_promotion_that_ended_is_tried_again_under_the_next_number(desk: Desk, phase: PromotionPhase) -> None:
    (first,) = desk.intake().model_registered(event()).items
    row = desk.promotion(phase, id=first.id)
    request = desk.intake().again(row, "oid-olive")
    assert (request.attempt, request.previous, request.trigger.kind) == (2, first.id, "retry")
    assert request.id == first.id.removesuffix("-1") + "-2"
    assert desk.intake().start(request).outcome is Outcome.STARTED
    assert desk.intake().start(desk.intake().again(row, "oid-olive")).outcome is Outcome.ALREADY_STARTED
    assert desk.orchestrator.starts == 2


@pytest.mark.parametrize("phase", [phase for phase in PromotionPhase if not phase.retryable])
def test_a_promotion_under_way_or_succeeded_is_not_tried_again(desk: Desk, phase: PromotionPhase) -> None:
    with pytest.raises(Conflict):
        desk.intake().again(desk.promotion(phase), "oid-olive")


def test_a_retry_takes_the_policy_as_it_is_now(desk: Desk) -> None:
    row = desk.promotion(PromotionPhase.FAILED)
    desk.policies.known = [policy(environment=None)]
    assert desk.intake().again(row, "o").parsed_policy().environment is None
    desk.policies.known = [policy(match={"workspace": "mlw-dev", "model": "other"})]
    with pytest.raises(Conflict, match="no longer covers"):
        desk.intake().again(row, "o")
    desk.policies.known = []
    with pytest.raises(NotFound, match="there is no policy air-time; there are none"):
        desk.intake().again(row, "o")
