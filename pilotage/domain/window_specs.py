"""What policies and guardrails say of change windows and freezes; `windows` computes with it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from pilotage.domain.recurrence import parse_rule
from pilotage.domain.strict import Duration, Strict
from pilotage.domain.wall_clock import instant, known_zone

Zone = Annotated[str, AfterValidator(known_zone)]
_CONFIG = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class Window(Strict):
    """A time that recurs."""

    model_config = _CONFIG

    # Read in this order: what counts from a day is understood with that day, and a length with the rule that it repeats by.
    since: str | None = Field(None, alias="from", description="First local day, such as 2026-01-05; INTERVAL and COUNT need it.")
    rule: str = Field(max_length=500, description="RFC 5545 recurrence without DTSTART, such as FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=9. "
                      "Hours and minutes that are not given are 0.")
    lasts: Duration = Field(alias="for", description="How long it lasts from there, by the wall clock.")
    reason: str = ""

    @field_validator("since")
    @classmethod
    def _a_day(cls, value: str | None) -> str | None:
        try:
            if value is not None and date.fromisoformat(value).isoformat() != value:
                raise ValueError
        except ValueError:
            raise ValueError(f"{value!r} is no day: write it such as 2026-01-05") from None
        return value

    @field_validator("rule")
    @classmethod
    def _recurs(cls, value: str, info: ValidationInfo) -> str:
        if "since" in info.data:
            parse_rule(value, info.data["since"])
        return value

    @field_validator("lasts")
    @classmethod
    def _leaves_time(cls, value: timedelta, info: ValidationInfo) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("for must be longer than zero")
        if "rule" in info.data and "since" in info.data and value > (period := parse_rule(info.data["rule"], info.data["since"]).period):
            hours = f"P{period.days}D" if period.days else f"PT{period.seconds // 3600}H"
            raise ValueError("for is longer than the time after which the rule comes again, so there is no time outside: "
                             f"use at most {hours}, or a rarer rule")
        return value


class Windows(Strict):
    """When a stage may change things."""

    timezone: Zone = Field("UTC", description="IANA name, such as Europe/Paris.")
    allow: list[Window] = Field(default_factory=list, description="Only then; without any, always but when denied.")
    deny: list[Window] = Field(default_factory=list, description="Never then, whatever is allowed.")
    covers: Annotated[list[Literal["approval", "rollout"]], Field(min_length=1)] = ["rollout"]


class Freeze(Strict):
    """No change from one time until another, for a reason."""

    model_config = _CONFIG

    timezone: Zone = "UTC"
    begins: str = Field(alias="from", description="Such as 2026-12-20T18:00 (in the timezone) or 2026-12-20T18:00:00Z.")
    until: str
    reason: Annotated[str, Field(min_length=1)]
    workspaces: list[str] = Field(default_factory=lambda: ["*"], description="Names or globs; all when not given.")
    models: list[str] = Field(default_factory=lambda: ["*"], description="Names or globs; all when not given.")

    @field_validator("begins", "until")
    @classmethod
    def _a_time(cls, value: str) -> str:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is no time; write it such as 2026-12-20T18:00") from None
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        start, end = self.interval
        if start >= end:
            raise ValueError("until must come after from")
        return self

    @property
    def interval(self) -> tuple[datetime, datetime]:
        """UTC. An end that the clock shows twice is its last showing."""
        found = [datetime.fromisoformat(text) for text in (self.begins, self.until)]
        start, end = (time.astimezone(UTC) if time.tzinfo else instant(time, ZoneInfo(self.timezone), last=number == 1)
                      for number, time in enumerate(found))
        return start, end

    def covers(self, workspace: str, model: str) -> bool:
        return (any(fnmatchcase(workspace.casefold(), name.casefold()) for name in self.workspaces)
                and any(fnmatchcase(model.casefold(), name.casefold()) for name in self.models))
