"""Rows of one table that another table has too, exactly or nearly: is a holdout free of what a model was trained on?"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from pilotage.domain.assets import Frozen
from pilotage.errors import InvalidInput
from pilotage.gates.predictions import is_number

if TYPE_CHECKING:
    import numpy as np

Rows = Sequence[Sequence[Any]]
Row = tuple[Hashable, ...]
PROSE_LENGTH = 25
"""Characters: a text column whose median value is longer is prose, and compared by its shingles; a shorter one is a category."""
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class Overlap(Frozen):
    """How many rows of a table stand in another one."""

    rows: int
    """Rows of the table that was asked about."""
    against: int
    """Rows of the other table."""
    columns: list[str]
    """What was compared: sorted names."""
    exact: int
    """Rows with an equal row in the other table."""
    near: int
    """Rows without an equal row, but with a nearly equal one."""
    exact_share: float
    near_share: float
    """Shares of `rows`; 0 when there are none."""
    chance_share: float
    """Share of unseen rows that would be equal to one of the other table by chance, because the columns have few values.
    0 where no row is there twice."""
    method: dict[str, Any]
    """How it was measured, for the evidence: kinds of columns, distances."""


def measure(columns: Sequence[str], rows: Rows, against_columns: Sequence[str], against: Rows, *, key: Sequence[str] = (),
            distance: float = 0.001, similarity: float = 0.9) -> Overlap:
    """How many of `rows` (a holdout) stand in `against` (training data); tables as `gates.tables.table` reads them.

    Compared are the columns that both tables have, whatever their order, or only those of `key`. Equal: the same
    values, numbers as numbers (1 is 1.0), text without outer blanks, empty and NaN alike. Nearly equal: the same
    categories (whatever case and blanks), each number within `distance` of its column's robust spread (interquartile
    range over 1.349), and prose whose 5-character shingles have a Jaccard similarity of `similarity` or more.
    Neither the order of rows nor that of columns matters; a copied row is always found. Raises InvalidInput when a
    column of `key` is missing, or no column is common.
    """
    if not 0 <= distance < 0.5:
        raise InvalidInput(f"distance is {distance}: it is a share of a column's spread, from 0 to below 0.5")
    missing = [name for name in key if name not in columns or name not in against_columns]
    if missing:
        raise InvalidInput(f"key: {', '.join(missing)} not in both tables: they have {', '.join(columns)} and {', '.join(against_columns)}")
    common = sorted(set(key) or set(columns) & set(against_columns))
    if not common:
        raise InvalidInput(f"no column is common: {', '.join(columns)} and {', '.join(against_columns)}")
    asked, known = _canonical(columns, rows, common), _canonical(against_columns, against, common)
    counted = Counter(known)
    rest = [row for row in asked if row not in counted]
    kinds = _kinds(common, asked, known)
    near = _near(list(kinds.values()), rest, list(counted), known, distance, similarity) if rest and counted else 0
    share = 1 / len(rows) if rows else 0.0
    return Overlap(rows=len(rows), against=len(against), columns=common, exact=len(asked) - len(rest), near=near,
                   exact_share=(len(asked) - len(rest)) * share, near_share=near * share, chance_share=_chance(Counter(asked), counted),
                   method={"key": sorted(key), "distance": distance, "similarity": similarity,
                           "kinds": dict(Counter(kinds.values()))})


def exceeds(overlap: Overlap, limit: float, significance: float = 0.001) -> bool:
    """Whether more than the share `limit` of the rows was copied, and not only equal by chance (binomial test, one-sided).

    Where no row repeats, chance explains nothing, and one row over the limit is one too many.
    """
    if overlap.exact_share <= limit:
        return False
    if not overlap.chance_share:
        return True
    from scipy.stats import binom

    share = limit + (1 - limit) * overlap.chance_share
    return bool(binom.sf(overlap.exact - 1, overlap.rows, share) < significance)


def _chance(asked: Counter[Row], known: Counter[Row]) -> float:
    """Two estimates, the smaller one counts: how often a row of the other table has an equal one among its fellows; and a bound by how
    often two rows of the asked table are equal (three more pairs than were seen, for what so few pairs can't tell).

    The second holds where training data was copied several times over, which would excuse any leak by the first.
    """
    n, m = known.total(), asked.total()
    if not n or m < 2:
        return 0.0
    repeated = sum(count for count in known.values() if count > 1) / n
    pairs = sum(count * (count - 1) / 2 for count in asked.values())
    return min(repeated, n * (pairs + 3) / (m * (m - 1) / 2), 1.0)


def _canonical(columns: Sequence[str], rows: Rows, common: Sequence[str]) -> list[Row]:
    places = [list(columns).index(name) for name in common]
    return [tuple([value if type(value) is int else _value(value) for value in [row[place] for place in places]]) for row in rows]


def _value(value: Any) -> Hashable:
    """1 and 1.0 are equal and hash alike in Python; text that is a number is one, and truth values are text (True would be 1)."""
    if isinstance(value, bool):
        return str(value).casefold()
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return float(text) if any(sign in text for sign in ".eE") else int(text)
        folded = text.casefold()
        return folded if folded in ("true", "false") else None if folded in ("", "nan") else text
    if isinstance(value, list | tuple):
        return ("list", *(_value(item) for item in value))
    if isinstance(value, dict):
        return ("object", *((str(name), _value(value[name])) for name in sorted(value, key=str)))
    return value if value is None or is_number(value) else str(value)


def _is_measurable(value: Any) -> bool:
    """Infinite numbers and whole ones that no float holds have no distance: they can only be equal."""
    return is_number(value) and abs(value) < 1e300


def _kinds(columns: Sequence[str], *tables: Sequence[Row]) -> dict[str, str]:
    """Column -> number, category or prose, told from the values of both tables."""
    kinds = {}
    for place, name in enumerate(columns):
        values = {row[place] for table in tables for row in table} - {None}
        if values and all(_is_measurable(value) for value in values):
            kinds[name] = "number"
        else:
            lengths = [len(value) for value in values if isinstance(value, str)]
            kinds[name] = "prose" if lengths and median(lengths) >= PROSE_LENGTH else "category"
    return kinds


def _near(kinds: Sequence[str], asked: Sequence[Row], known: Sequence[Row], all_known: Sequence[Row], distance: float,
          similarity: float) -> int:
    """How many of `asked` have a nearly equal row among `known`.

    All that must be equal (categories, which numbers are missing, groups of alike prose) becomes one number; that
    and the scaled numbers are a point, and a k-d tree finds the neighbours by the largest difference of a coordinate.
    """
    import numpy as np
    from scipy.spatial import cKDTree

    numeric = [place for place, kind in enumerate(kinds) if kind == "number"]
    prose = [place for place, kind in enumerate(kinds) if kind == "prose"]
    groups: dict[Hashable, int] = {}
    category = [place for place, kind in enumerate(kinds) if kind == "category"]

    def group(row: Row) -> int:
        same = (*(_folded(row[place]) for place in category), *(row[place] is None for place in numeric))
        return groups.setdefault(same, len(groups))

    spread = _spread(np.array([[np.nan if row[place] is None else row[place] for place in numeric] for row in all_known], dtype=float))

    def points(table: Sequence[Row]) -> np.ndarray:
        found = np.array([[0.0 if row[place] is None else row[place] for place in numeric] for row in table], dtype=float)
        # Groups stand 1 apart, further than `distance` reaches.
        return np.column_stack([found.reshape(len(table), len(numeric)) / spread, [float(group(row)) for row in table]])

    there, here = points(known), points(asked)
    if not prose:
        tree = cKDTree(np.unique(there, axis=0))
        gaps, _ = tree.query(here, k=1, p=np.inf, distance_upper_bound=distance * (1 + 1e-9))
        return int(np.isfinite(gaps).sum())
    texts, known_texts = ([" \n ".join(str(_folded(row[place])) for place in prose) for row in table] for table in (asked, known))
    alike = similar_texts(texts, known_texts, similarity)
    by_text: dict[str, list[int]] = defaultdict(list)
    for at, text in enumerate(known_texts):
        by_text[text].append(at)
    stacked = {text: there[places] for text, places in by_text.items()}
    return sum(any((np.abs(stacked[other] - here[at]).max(axis=1) <= distance).any() for other in alike[text])
               for at, text in enumerate(texts))


def _folded(value: Hashable) -> Hashable:
    return " ".join(value.split()).casefold() if isinstance(value, str) else value


def _spread(values: np.ndarray) -> np.ndarray:
    """Robust standard deviation of each column; the plain one where half of the values are equal; 1 where all are."""
    import numpy as np

    if not values.size:
        return np.ones(values.shape[1] if values.ndim == 2 else 0)
    spread = np.ones(values.shape[1])
    for place in range(values.shape[1]):
        there = np.sort(values[:, place][np.isfinite(values[:, place])])
        if there.size:
            low, high = np.quantile(there, [0.25, 0.75])
            spread[place] = (high - low) / 1.349 or there.std() or 1.0
    return spread


def similar_texts(asked: Iterable[str], known: Iterable[str], similarity: float) -> dict[str, list[str]]:
    """Each asked text -> the known ones whose 5-character shingles are as similar (Jaccard).

    32 minimum hashes in 8 bands propose pairs (one of similarity 0.9 is missed about once in 5,000), which are then
    compared in full; of more than 64 proposals for a text those with the most equal minima are compared.
    """
    import numpy as np

    draw = np.random.default_rng(5)
    factors = draw.integers(1, 2**63, 32, dtype=np.uint64) | np.uint64(1)
    offsets = draw.integers(0, 2**63, 32, dtype=np.uint64)

    def signature(text: str) -> np.ndarray:
        hashes = _hashes(text)
        # All at once costs 32 times the text's memory: long texts go by hash.
        if hashes.size < 10_000:
            return np.asarray((factors[:, None] * hashes + offsets[:, None]).min(axis=1))
        return np.array([(hashes * factor + offset).min() for factor, offset in zip(factors, offsets, strict=True)])

    # Sorted: which proposals are compared must not depend on the order of rows.
    texts = sorted(set(known))
    signatures = np.array([signature(text) for text in texts])
    bands: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for at, minima in enumerate(signatures):
        for band in range(8):
            bands[band, minima[4 * band:4 * band + 4].tobytes()].append(at)
    found = {}
    for text in set(asked):
        mine = signature(text)
        proposed = sorted({at for band in range(8) for at in bands.get((band, mine[4 * band:4 * band + 4].tobytes()), ())})
        if len(proposed) > 64:
            agreement = (signatures[proposed] == mine).sum(axis=1)
            proposed = [proposed[place] for place in np.argsort(-agreement, kind="stable")[:64]]
        found[text] = [texts[at] for at in proposed if texts[at] == text or _jaccard(shingles(text), shingles(texts[at])) >= similarity]
    return found


def shingles(text: str) -> np.ndarray:
    """Distinct hashes of all runs of 5 characters; of the whole text when it is shorter."""
    import numpy as np

    return np.unique(_hashes(text))


def _hashes(text: str) -> np.ndarray:
    import numpy as np

    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    width = min(5, codes.size)
    hashes = np.full(codes.size - width + 1, codes.size if width < 5 else 0, dtype=np.uint64)
    for place in range(width):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes[place:codes.size - width + 1 + place]
    # The high bits are mixed best, and the minimum of a product looks at them.
    return np.asarray(hashes ^ (hashes >> np.uint64(29)))


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    import numpy as np

    common = np.intersect1d(one, other, assume_unique=True).size
    return float(common / (one.size + other.size - common))
