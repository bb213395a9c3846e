"""Whose passports are whose: a rollback's goes with its promotion, an audit spans all teams."""

from __future__ import annotations

import pytest

from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase
from tests.support.desk import Desk
from tests.support.routes import ask

ROLLBACK = "rollback-promote-air-time-1-abc-1-1"


@pytest.fixture
def taken_back(desk: Desk) -> Desk:
    desk.promotion(PromotionPhase.ROLLED_BACK, team="forecasting")
    for passport in (ROLLBACK, "drift-air-time-abc-1"):
        desk.ledger.passports.append(Entry(passport=passport, sequence=0, at="2026-01-05T10:00:00.000+00:00", kind="fact",
                                           step="rollback.accepted", phase="rolled_back"))
    return desk


@pytest.mark.parametrize(("passport", "role", "status"), [
    (ROLLBACK, "Reader", 200), (ROLLBACK, "Reader.forecasting", 200), (ROLLBACK, "Reader.vision", 403),
    ("rollback-promote-air-time-9-abc-1-1", "Reader", 404),
    ("drift-air-time-abc-1", "Reader", 200), ("drift-air-time-abc-1", "Reader.forecasting", 403),
    ("drift-air-time-abc-2", "Reader", 404), ("..", "Reader", 404)])
def test_a_rollbacks_passport_is_its_promotions_business_an_incidents_all_teams(
    taken_back: Desk, passport: str, role: str, status: int
) -> None:
    answer = ask("get_passport", token=taken_back.actor("rita", role), promotion=passport)
    assert answer.status == status
    if status == 200:
        assert answer.value["passport"] == passport


@pytest.mark.parametrize(("role", "status"), [("Reader", 200), ("Admin", 200), ("Reader.forecasting", 403)])
def test_an_audit_spans_all_teams(taken_back: Desk, role: str, status: int) -> None:
    answer = ask("export_audit", token=taken_back.actor("rita", role), query={"from": "2026-01-01", "to": "2026-02-01"})
    assert answer.status == status
    if status == 200:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="pilotage-audit-20260101-20260201.zip"'


@pytest.mark.parametrize("query", [
    {}, {"from": "2026-01-01"}, {"from": "2026-02-01", "to": "2026-01-01"}, {"from": "2026-01-01", "to": "2026-01-01"},
    {"from": "2026-01-01T00:00:00", "to": "2026-02-01"}, {"from": "2026-13-01", "to": "2026-02-01"}], ids=range(6))
def test_a_period_has_two_ends_with_zones(taken_back: Desk, query: dict[str, str]) -> None:
    assert ask("export_audit", token=taken_back.actor("rita", "Reader"), query=query).status == 400
