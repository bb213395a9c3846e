"""One owner an endpoint, at an epoch that only grows; a rollback takes it from anybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.errors import Busy, Conflict, StaleEpoch
from pilotage.ledger import Ledger
from pilotage.ledger.changes import ATTEMPTS, change
from pilotage.ledger.endpoints import Acquired
from pilotage.messages import EndpointRow, LiveModel, Retained
from tests.support.crashes import Stores, crash_points
from tests.support.interleaving import Turns, every_order
from tests.support.memory import SIGNER, MemoryRows

AT = ("mlw-prod", "air-time")


def _nobody_ended(_: str) -> bool:
    return False


def _acquire(
    ledger: Ledger, promotion: str, version: str = "1", ended: Callable[[str], bool] = _nobody_ended, model: str = "air-time"
) -> Acquired:
    return ledger.endpoints.acquire(*AT, promotion, model, version, ended)


def _live(version: str, promotion: str = "p0", model: str = "air-time") -> LiveModel:
    return LiveModel(promotion=promotion, model=model, version=version, deployment=f"v{version}")


def _row(ledger: Ledger) -> EndpointRow:
    row = ledger.endpoints.get(*AT)
    assert row is not None
    return row


def _holds(ledger: Ledger, owner: str, epoch: int) -> bool:
    try:
        ledger.endpoints.check(*AT, owner, epoch)
    except StaleEpoch:
        return False
    return True


# --- acquire --------------------------------------------------------------------------------------

def test_a_free_endpoint_is_owned_and_the_same_owner_keeps_its_epoch() -> None:
    ledger = Stores().ledger
    assert _acquire(ledger, "p1") == Acquired("owned", 1, "p1", None)
    assert _acquire(ledger, "p1") == Acquired("owned", 1, "p1", None)
    assert _holds(ledger, "p1", 1)
    assert not _holds(ledger, "p1", 2)


def test_an_owned_endpoint_is_busy_until_its_owner_is_over() -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p1")
    assert _acquire(ledger, "p2") == Acquired("busy", 1, "p1", None)
    assert _acquire(ledger, "p2", ended=lambda owner: owner == "p1") == Acquired("owned", 2, "p2", None)
    assert not _holds(ledger, "p1", 1)


@pytest.mark.parametrize(("model", "version", "state"), [
    ("air-time", "9", "older"),
    ("Air-Time", "9", "older"),
    ("air-time", "10", "owned"),
    ("air-time", "11", "owned"),
    ("air-time", "2024-b", "owned"),
    ("other", "1", "owned"),
])
def test_a_version_older_than_the_live_one_is_held(model: str, version: str, state: str) -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p0", "10")
    assert ledger.endpoints.release(*AT, "p0", 1, _live("10"), [])
    got = _acquire(ledger, "p1", version, model=model)
    assert got.state == state
    assert got.live == _live("10")


def test_endpoints_are_the_same_whatever_the_case() -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p1")
    assert ledger.endpoints.acquire("MLW-Prod", "Air-Time", "p2", "m", "1", _nobody_ended).state == "busy"
    assert ledger.endpoints.acquire("mlw-prod", "other", "p2", "m", "1", _nobody_ended).state == "owned"
    assert [row.endpoint for row in ledger.endpoints.all()] == ["air-time", "other"]


# --- rollback -------------------------------------------------------------------------------------

def test_a_rollback_takes_the_endpoint_once_and_for_good() -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p1")
    first = ledger.endpoints.raise_epoch(*AT, "r1")
    assert (first.owner, first.epoch, first.displaced) == ("r1", 2, ["p1"])
    assert ledger.endpoints.raise_epoch(*AT, "r1") == first
    assert not _holds(ledger, "p1", 1)
    assert _holds(ledger, "r1", 2)
    assert not ledger.endpoints.release(*AT, "p1", 1, _live("1"), []), "who was displaced releases nothing"
    with pytest.raises(StaleEpoch):
        _acquire(ledger, "p1")
    assert ledger.endpoints.release(*AT, "r1", 2, None, [])
    with pytest.raises(StaleEpoch):
        _acquire(ledger, "p1")
    assert _acquire(ledger, "p1-retried").state == "owned"


def test_a_rollback_needs_nobody_to_take_from() -> None:
    ledger = Stores().ledger
    assert ledger.endpoints.raise_epoch(*AT, "r1").epoch == 1
    assert _holds(ledger, "r1", 1)


def test_an_older_rollback_does_not_come_back() -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p1")
    ledger.endpoints.raise_epoch(*AT, "r1")
    second = ledger.endpoints.raise_epoch(*AT, "r2")
    assert (second.owner, second.epoch) == ("r2", 3)
    assert ledger.endpoints.raise_epoch(*AT, "r1") == second, "its repeat learns who has the endpoint, and takes nothing"
    assert not _holds(ledger, "r1", 2)
    assert _holds(ledger, "r2", 3)


def test_a_late_repeat_of_a_finished_rollback_disturbs_nobody() -> None:
    ledger = Stores().ledger
    ledger.endpoints.raise_epoch(*AT, "r1")
    ledger.endpoints.release(*AT, "r1", 1, None, [])
    _acquire(ledger, "p2")
    assert ledger.endpoints.raise_epoch(*AT, "r1").owner == "p2"
    assert _holds(ledger, "p2", 2)


# --- release --------------------------------------------------------------------------------------

def test_a_repeated_release_answers_the_same_even_when_another_owns_the_endpoint_by_then() -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p1")
    kept = [Retained(deployment="v0", until="2026-01-06T00:00:00+00:00")]
    assert ledger.endpoints.release(*AT, "p1", 1, _live("1", "p1"), kept)
    assert ledger.endpoints.release(*AT, "p1", 1, _live("1", "p1"), kept)
    _acquire(ledger, "p2", "2")
    assert ledger.endpoints.release(*AT, "p1", 1, _live("1", "p1"), kept)
    row = _row(ledger)
    assert (row.owner, row.epoch, row.live, row.retained) == ("p2", 2, _live("1", "p1"), kept)


def test_what_is_kept_adds_up_until_it_is_dropped() -> None:
    ledger = Stores().ledger
    for version, kept in (("1", []), ("2", ["v1"]), ("3", ["v2"])):
        epoch = _acquire(ledger, f"p{version}", version).epoch
        ledger.endpoints.release(*AT, f"p{version}", epoch, _live(version), [Retained(deployment=name, until=version) for name in kept])
    assert [item.deployment for item in _row(ledger).retained] == ["v1", "v2"]
    ledger.endpoints.drop_retained(*AT, "v1")
    ledger.endpoints.drop_retained(*AT, "v1")
    assert [item.deployment for item in _row(ledger).retained] == ["v2"]


def test_what_serves_again_is_no_longer_just_kept() -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p2")
    ledger.endpoints.release(*AT, "p2", 1, _live("2"), [Retained(deployment="v1", until="x")])
    epoch = ledger.endpoints.raise_epoch(*AT, "r1").epoch
    ledger.endpoints.release(*AT, "r1", epoch, _live("1"), [Retained(deployment="v2", until="y")])
    row = _row(ledger)
    assert row.live == _live("1")
    assert row.retained == [Retained(deployment="v2", until="y")]


def test_a_first_deployment_that_is_rolled_back_leaves_nothing_live() -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p1")
    ledger.endpoints.release(*AT, "p1", 1, _live("1"), [])
    epoch = ledger.endpoints.raise_epoch(*AT, "r1").epoch
    ledger.endpoints.release(*AT, "r1", epoch, None, [Retained(deployment="v1", until="x")])
    assert _row(ledger).live is None


def test_a_rollout_that_changed_nothing_leaves_the_live_model() -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p1")
    ledger.endpoints.release(*AT, "p1", 1, _live("1"), [])
    _acquire(ledger, "p2", "2")
    ledger.endpoints.release(*AT, "p2", 2, _row(ledger).live, [])
    assert _row(ledger).live == _live("1")


def test_a_rollback_to_what_no_promotion_brought_leaves_nothing_live() -> None:
    """Also when a later promotion was live, whose deployment the rollback does not keep."""
    ledger = Stores().ledger
    _acquire(ledger, "p3", "3")
    ledger.endpoints.release(*AT, "p3", 1, _live("3"), [])
    epoch = ledger.endpoints.raise_epoch(*AT, "r1").epoch
    ledger.endpoints.release(*AT, "r1", epoch, None, [Retained(deployment="v2", until="x")])
    assert _row(ledger).live is None


def test_a_promotion_that_is_rolled_back_before_its_turn_never_gets_the_endpoint() -> None:
    ledger = Stores().ledger
    _acquire(ledger, "p1")
    row = ledger.endpoints.raise_epoch(*AT, "r1", "p2")
    assert (row.displaced, row.displaced_owner) == (["p1", "p2"], "p1")
    ledger.endpoints.release(*AT, "r1", row.epoch, None, [])
    with pytest.raises(StaleEpoch):
        _acquire(ledger, "p2", "2")


# --- crashes and interleavings --------------------------------------------------------------------

def _owned_by_p1(ledger: Ledger) -> None:
    _acquire(ledger, "p1")


@pytest.mark.parametrize(("prepare", "act"), [
    (lambda ledger: None, lambda ledger: _acquire(ledger, "p1")),
    (_owned_by_p1, lambda ledger: ledger.endpoints.raise_epoch(*AT, "r1")),
    (_owned_by_p1, lambda ledger: ledger.endpoints.release(*AT, "p1", 1, _live("1"), [Retained(deployment="v0", until="x")])),
], ids=["acquire", "raise_epoch", "release"])
def test_a_change_survives_a_crash(prepare: Callable[[Ledger], None], act: Callable[[Ledger], Any]) -> None:
    undisturbed = Stores()
    prepare(undisturbed.ledger)
    expected = act(undisturbed.ledger)
    for where, stores in crash_points(prepare, act):
        assert act(stores.ledger) == expected, where
        assert _row(stores.ledger) == _row(undisturbed.ledger), where


def test_of_rollouts_at_once_one_owns_the_endpoint() -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        ledger = Ledger(stores.records, turns.watch(stores.rows), stores.clock, signer=SIGNER)
        ended = turns.run([lambda p=p: _acquire(ledger, p) for p in ("p1", "p2", "p3")], schedule)
        assert sorted(end.result.state for end in ended) == ["busy", "busy", "owned"]
        assert {end.result.owner for end in ended} == {_row(stores.ledger).owner}
        assert _row(stores.ledger).epoch == 1

    assert every_order(attempt) > 500


def test_a_rollback_wins_against_acquire_and_release_in_any_order() -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        _acquire(stores.ledger, "p1")
        ledger = Ledger(stores.records, turns.watch(stores.rows), stores.clock, signer=SIGNER)
        release, rollback, queued = turns.run([
            lambda: ledger.endpoints.release(*AT, "p1", 1, _live("1"), []),
            lambda: ledger.endpoints.raise_epoch(*AT, "r1"),
            lambda: _acquire(ledger, "p2", "2"),
        ], schedule)
        row = _row(stores.ledger)
        if rollback.result.displaced == ["p1"]:
            assert release.result is False, "the rollout learns that it was displaced"
            assert row.live is None
        else:
            assert release.result is True
            assert row.live == _live("1")
        assert (row.owner, row.epoch) == ("r1", rollback.result.epoch), "whoever owned the endpoint, the rollback has it now"
        if queued.result.state == "owned":
            assert row.displaced == ["p2"]
            assert not _holds(stores.ledger, "p2", queued.result.epoch)

    assert every_order(attempt) > 500


OPERATIONS = st.lists(st.tuples(st.sampled_from(["acquire", "rollback", "release"]), st.integers(0, 3), st.booleans()), max_size=30)


@given(OPERATIONS)
@settings(deadline=None)
def test_epochs_grow_and_at_most_one_writer_holds_the_endpoint(operations: list[tuple[str, int, bool]]) -> None:
    """Any history of rollouts and rollbacks, each operation possibly repeated as an activity may be."""
    ledger = Stores().ledger
    writers: dict[str, int] = {}
    epoch = 0
    for number, (operation, who, repeated) in enumerate(operations):
        for _ in range(2 if repeated else 1):
            if operation == "acquire":
                try:
                    got = _acquire(ledger, f"p{who}", "1")
                except StaleEpoch:
                    continue
                if got.state == "owned":
                    writers[f"p{who}"] = got.epoch
            elif operation == "rollback":
                writers[f"r{number}"] = ledger.endpoints.raise_epoch(*AT, f"r{number}").epoch
            elif writers:
                name = sorted(writers)[who % len(writers)]
                ledger.endpoints.release(*AT, name, writers[name], None, [])
            row = ledger.endpoints.get(*AT)
            assert row is not None or not writers
            if row is not None:
                assert row.epoch >= epoch
                epoch = row.epoch
            assert sum(_holds(ledger, name, held) for name, held in writers.items()) <= 1
        if operation == "rollback":
            assert _holds(ledger, f"r{number}", writers[f"r{number}"]), "a rollback is never blocked"


def test_a_row_that_others_keep_changing_is_busy() -> None:
    rows = MemoryRows()
    rows.put("t", "k", {"n": 0}, None)
    looks = 0

    def outrun(current: dict[str, Any] | None) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        found = rows.get("t", "k")
        assert found is not None
        rows.put("t", "k", {"n": found[0]["n"] + 1}, found[1])
        return {"n": -1}

    with pytest.raises(Busy):
        change(rows, "t", "k", outrun)
    assert looks == ATTEMPTS


def test_a_write_whose_answer_was_lost_is_found_again() -> None:
    """The SDK retried a write that had been made: the second try is refused, and ours is there."""
    class Forgetful(MemoryRows):
        lost = False

        def put(self, *args: Any, **named: Any) -> None:
            super().put(*args, **named)
            if not self.lost:
                self.lost = True
                raise Conflict

    stores = Stores(rows=Forgetful())
    assert _acquire(stores.ledger, "p1") == Acquired("owned", 1, "p1", None)
    assert stores.ledger.endpoints.raise_epoch(*AT, "r1").epoch == 2
