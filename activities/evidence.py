"""Activities on the ledger: the passport and the index that follows it."""

from __future__ import annotations

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.assets import AssetRef
from pilotage.domain.passport import ANCHOR, Entry
from pilotage.errors import NotFound, PilotageError
from pilotage.messages import PromotionRow

TOLD = 20
"""Late digests of which one answer tells."""


@effect
def record_entry(payload: dict) -> dict:
    """Append one passport entry (create-only), then bring the index row up to it.

    A crash in between is mended by the repeat: the entry is there with equal bytes, the row follows.
    """
    ledger = app().ledger
    entry = Entry.model_validate(payload["entry"])
    ledger.passports.append(entry)
    if row := payload.get("row"):
        ledger.promotions.put(PromotionRow.read(row))
    return {"digest": entry.digest}


@effect
def passport_tail(payload: dict) -> dict:
    """Where a passport ends: {"sequence", "previous"}."""
    return app().ledger.passports.tail(payload["passport"]).wire()


@effect
def anchor_passport(payload: dict) -> dict:
    """{"promotion", "target", "digest"} -> {"anchored"}: the digest on the registry's model; False where the version is not there.

    A version that was promoted several times bears a digest for each promotion.
    """
    app().ledger.anchors.owe(payload["promotion"], payload["target"], payload["digest"])
    return {"anchored": _stamp(payload)}


@effect
def anchor_late(payload: dict) -> dict:
    """{} -> {"anchored": [promotion], "owed": [why]}: digests that the promotions themselves could not put there; some are told."""
    anchored, owed = [], []
    for about in app().ledger.anchors.owed():  # all of them: those that can't be put there must not hold the others up
        try:
            _stamp(about)
            anchored.append(about["promotion"])
        except PilotageError as error:
            owed.append(f"{about['promotion']}: {type(error).__name__}: {error}"[:300])
    more = [f"and {len(owed) - TOLD} more digests"] if len(owed) > TOLD else []
    return {"anchored": anchored[:TOLD], "owed": owed[:TOLD] + more}


def _stamp(about: dict) -> bool:
    target = AssetRef.model_validate(about["target"])
    try:
        app().registry.stamp(target, {f"{ANCHOR}{about['promotion']}": about["digest"]})
        found = True
    except NotFound:
        found = False  # the promotion ended before its version was there
    app().ledger.anchors.settle(about["promotion"])
    return found
