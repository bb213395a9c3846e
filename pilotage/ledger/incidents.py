"""Drift incidents: many alerts, one incident at a time for a policy's endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable

from pilotage.domain.drift import DriftAlert, PastRun
from pilotage.domain.names import incident_id
from pilotage.ledger.changes import Row, change
from pilotage.ledger.documents import create_first, read_json
from pilotage.messages import IncidentRow
from pilotage.ports import Records, Rows

_TABLE = "incidents"
REMEMBERED_ALERTS = 500
"""Alert hashes of the newest incident in its row; those beyond are known by their records alone."""
REMEMBERED_RUNS = 50


class Incidents:
    def __init__(self, records: Records, rows: Rows) -> None:
        self._records, self._rows = records, rows

    def alert(self, policy: str, endpoint_key: str, alert: DriftAlert) -> tuple[str, bool]:
        """Assign an alert to an incident: (incident id, whether this alert opened it).

        The same alert gets the same answer for ever: the delivery that opened an incident may have died
        before the incident was claimed, and its repeat must claim it.
        """
        known = f"alerts/{incident_id(policy, endpoint_key, 0)}/{alert.hash}.json"
        if found := read_json(self._records, known):
            return found["incident"], found["opened"]

        def decide(row: IncidentRow) -> IncidentRow | None:
            if alert.hash in row.alerts:
                return None
            if row.open is not None:
                more = len(row.alerts) < REMEMBERED_ALERTS
                return row.model_copy(update={"alerts": [*row.alerts, alert.hash]}) if more else None
            number = row.number + 1
            return row.model_copy(update={
                "number": number, "open": incident_id(policy, endpoint_key, number), "alerts": [alert.hash]})

        row = self._change(policy, endpoint_key, decide)
        incident, opened = incident_id(policy, endpoint_key, row.number), row.alerts[0] == alert.hash
        create_first(self._records, f"incidents/{incident}/{alert.hash}.json", alert.model_dump(mode="json"))
        stored, _ = create_first(self._records, known, {"incident": incident, "opened": opened})
        return stored["incident"], stored["opened"]

    def alerts(self, incident: str) -> list[DriftAlert]:
        """The alerts of an incident, in the order of their hashes."""
        found = [self._records.read(name) for name in self._records.names(f"incidents/{incident}/")]
        return [DriftAlert.model_validate(json.loads(content)) for content in found if content is not None]

    def runs(self, policy: str, endpoint_key: str) -> list[PastRun]:
        """Retrainings so far, oldest first: what cooldown and budget count."""
        found = self._rows.get(_TABLE, _key(policy, endpoint_key))
        return [PastRun.model_validate(run) for run in IncidentRow.read(found[0]).runs] if found else []

    def record_run(self, policy: str, endpoint_key: str, run: PastRun) -> None:
        """Count a retraining, once an incident."""
        def decide(row: IncidentRow) -> IncidentRow | None:
            if any(known["incident"] == run.incident for known in row.runs):
                return None
            runs = sorted([*row.runs, run.model_dump()], key=lambda known: known["started_at"])
            return row.model_copy(update={"runs": runs[-REMEMBERED_RUNS:]})

        self._change(policy, endpoint_key, decide)

    def close(self, policy: str, endpoint_key: str, incident: str) -> None:
        """The next alert opens a new incident."""
        self._change(policy, endpoint_key, lambda row: row.model_copy(update={"open": None}) if row.open == incident else None)

    def _change(self, policy: str, endpoint_key: str, decide: Callable[[IncidentRow], IncidentRow | None]) -> IncidentRow:
        def step(current: Row | None) -> Row | None:
            wanted = decide(IncidentRow.read(current) if current else IncidentRow())
            return wanted.wire() if wanted else None

        row = change(self._rows, _TABLE, _key(policy, endpoint_key), step)
        return IncidentRow.read(row) if row else IncidentRow()


def _key(policy: str, endpoint_key: str) -> str:
    return f"{policy.casefold()}|{endpoint_key.casefold()}"
