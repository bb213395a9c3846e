"""Rows of the training data in the data that is checked, equal or nearly so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pilotage.domain.gate_specs import DataQualityGate
from pilotage.gates import overlap
from pilotage.gates.data_quality.rules import Finding, Rows


def leaks(spec: DataQualityGate, columns: Sequence[str], rows: Rows, trained_columns: Sequence[str], trained: Rows, seed: int
          ) -> tuple[list[Finding], dict[str, Any]]:
    """Rows of the training data in the data: equal ones by the key, and nearly equal ones by all other columns."""
    # Numbers of a key lie close together and mean nothing (customer 17 and 18), so near rows are told from the rest.
    others = [name for name in dict.fromkeys(columns) if name in trained_columns and name not in spec.key]
    found = overlap.measure(columns, rows, trained_columns, trained, key=spec.key)
    chance = f" ({found.chance_share:.2%} would be by chance)" if found.chance_share else ""
    findings = []
    if overlap.exceeds(found, spec.max_exact_overlap):
        findings.append(Finding("", "max_exact_overlap", found.exact, len(rows), f"{found.exact} of {len(rows)} rows are in the training "
                                f"data{chance}; the policy allows {spec.max_exact_overlap:.2%}"))
    evidence: dict[str, Any] = {
        "training_rows": len(trained), "columns": len(found.columns), "exact": found.exact, "max_exact_share": spec.max_exact_overlap,
        "exact_by_chance": round(found.chance_share, 6), "max_near_share": spec.max_near_overlap, "method": found.method}
    if not others or not rows:
        return findings, evidence
    measured = overlap.measure(columns, rows, trained_columns, trained, key=others)
    # With a key, rows that are equal in all other columns are copies under another name.
    count = max(0, measured.exact + measured.near - found.exact) if spec.key else measured.near
    evidence["near"] = count
    if count / len(rows) > spec.max_near_overlap:
        by_chance = _near_by_chance(others, bool(spec.key), columns, rows, trained_columns, trained, seed)
        evidence["near_by_chance"] = round(by_chance, 6)
        if overlap.exceeds(measured.model_copy(update={"exact": count, "exact_share": count / len(rows), "chance_share": by_chance}),
                           spec.max_near_overlap):
            findings.append(Finding("", "max_near_overlap", count, len(rows),
                                    f"{count} of {len(rows)} rows nearly equal a training row"
                                    f"{f' ({by_chance:.2%} would by chance)' if by_chance else ''}; the policy allows "
                                    f"{spec.max_near_overlap:.2%}"))
    return findings, evidence


def _near_by_chance(compared: Sequence[str], with_equal: bool, columns: Sequence[str], rows: Rows, trained_columns: Sequence[str],
                    trained: Rows, seed: int) -> float:
    """Share of unseen rows that have a near training row because rows lie densely: the smaller one of two estimates, as `overlap` does
    for equal rows. Half of the training data against its other half; and half of the data against its other half, scaled to the
    size of the training data (with three more pairs than were seen). Copies in the training data alone excuse nothing so.
    """
    import numpy as np

    def halves(table: Rows, names: Sequence[str]) -> tuple[int, int, int]:
        order = np.random.default_rng(seed).permutation(len(table))
        one, other = ([table[at] for at in part] for part in (order[: len(table) // 2], order[len(table) // 2:]))
        found = overlap.measure(names, one, names, other, key=compared)
        return found.near + (found.exact if with_equal else 0), len(one), len(other)

    hits, asked, against = halves(trained, trained_columns)
    mine, my_asked, my_against = halves(rows, columns)
    if not asked or not my_asked:
        return 0.0
    return min(_at_most(hits) / asked * len(trained) / against, _at_most(mine + 3) / my_asked * len(trained) / my_against, 1.0)


def _at_most(count: int) -> float:
    """What a count may be of: two and a half standard deviations more. The smaller of two counts is too small by chance."""
    return count + 2.5 * math.sqrt(count)
