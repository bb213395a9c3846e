"""Activities on the ledger: the passport and the index that follows it."""

from __future__ import annotations

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.assets import AssetRef
from pilotage.domain.passport import ANCHOR, Entry
from pilotage.errors import NotFound
from pilotage.messages import PromotionRow


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
    target = AssetRef.model_validate(payload["target"])
    try:
        app().registry.stamp(target, {f"{ANCHOR}{payload['promotion']}": payload["digest"]})
    except NotFound:
        return {"anchored": False}
    return {"anchored": True}
