"""Virtual machine sizes: which family's quota they count against, and how many cores they have.

Names say both (learn.microsoft.com/azure/virtual-machines/vm-naming-conventions), except those of the second
version of the D series, which number their sizes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBERED = {1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 11: 2, 12: 4, 13: 8, 14: 16, 15: 20}
"""`Standard_DS3_v2`: the number of the size -> cores."""
_OLD = re.compile(r"Standard_D(?P<premium>S?)(?P<number>[0-9]{1,4})_v2", re.IGNORECASE)
_NEW = re.compile(
    r"Standard_(?P<series>[A-Z]{1,3}?)(?P<cores>[0-9]{1,4})(?:-\d+)?(?P<features>[a-z]*)(?:_(?!v\d+$)(?P<chip>[A-Z]+\d+[A-Z]*))?(?:_(?P<version>v\d+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class VmSize:
    family: str
    """As quotas name it: `standardDSv2Family`."""
    cores: int


def vm_size(name: str) -> VmSize | None:
    """The family and the cores of a size; None for what is no size's name.

    >>> vm_size("Standard_DS3_v2")
    VmSize(family='standardDSv2Family', cores=4)
    >>> vm_size("STANDARD_E4S_V3")
    VmSize(family='standardESv3Family', cores=4)
    """
    if found := _OLD.fullmatch(name):
        cores = _NUMBERED.get(int(found["number"]))
        return VmSize(f"standardD{found['premium'].upper()}v2Family", cores) if cores else None
    found = _NEW.fullmatch(name)
    if found is None or int(found["cores"]) == 0:
        return None
    parts = (found["series"], found["features"], found["chip"] or "")
    family = "".join(part.upper() for part in parts) + (found["version"] or "").lower()
    return VmSize(f"standard{family}Family", int(found["cores"]))
