"""The model card: a licence that is allowed, and the fields that the policy asks for."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from pilotage.domain.assets import ModelVersion
from pilotage.gates.security.findings import Finding

_LICENCE = ("licence", "license")


def check(model: ModelVersion, licences: Sequence[str], fields: Sequence[str]) -> list[Finding]:
    """Tags and properties are one card; `description` is the model's own description."""
    card = {name.casefold(): value.strip() for name, value in {**model.tags, **model.properties}.items()}
    card.setdefault("description", model.description.strip())
    findings = [Finding(part="card", level="failed", message=f"the model carries no {name}: set it as a tag or property")
                for name in fields if not card.get(name.casefold())]
    if licences:
        findings += _licence(next((card[name] for name in _LICENCE if card.get(name)), ""), licences)
    return findings


def _licence(text: str, allowed: Sequence[str]) -> list[Finding]:
    if not text:
        return [Finding(part="licence", level="failed", message=f"the model names no licence; the policy allows {', '.join(allowed)}")]
    try:
        expression = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return [Finding(part="licence", level="failed", message=f"the licence {text[:60]!r} is no SPDX expression, such as Apache-2.0")]
    known = {name.casefold() for name in allowed}
    # All that is joined by AND must be allowed, one of what is joined by OR.
    if any(all(_names(part, known) for part in choice.split(" AND ")) for choice in expression.split(" OR ")):
        return []
    return [Finding(part="licence", level="failed", message=f"the licence {expression} is none of {', '.join(allowed)}")]


def _names(part: str, known: set[str]) -> bool:
    plain = part.strip("() ")
    return plain.casefold() in known or plain.split(" WITH ")[0].casefold() in known
