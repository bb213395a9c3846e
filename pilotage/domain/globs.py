"""Whether two glob patterns can match one text: `air-*` and `*-time` meet in `air-time`, and neither matches the other."""

from __future__ import annotations

import fnmatch

_STAR = "*"


def globs_meet(first: str, second: str) -> bool:
    """True when some text matches both patterns, as `fnmatch.fnmatchcase` reads them.

    Two character classes are taken to share a character: rather one clash too many than one unseen.
    """
    a, b = _tokens(first), _tokens(second)
    # ahead[j]: whether what is left of `a` meets what is left of `b` from j on; filled from both ends' end.
    ahead = [all(token == _STAR for token in b[j:]) for j in range(len(b) + 1)]
    for token in reversed(a):
        here = [token == _STAR and ahead[-1]]
        for j, other in reversed(list(enumerate(b))):
            if _STAR in (token, other):  # the star is over here, or takes one more of what the other asks for
                here.append(ahead[j] or here[-1])
            else:
                here.append(_share(token, other) and ahead[j + 1])
        ahead = here[::-1]
    return ahead[0]


def _tokens(pattern: str) -> list[str]:
    """Stars (runs of them as one), classes such as `[0-9]`, `?`, and characters."""
    found: list[str] = []
    at = 0
    while at < len(pattern):
        end = at + 1
        if pattern[at] == "[":
            # As fnmatch: `]` right after the opening (or its `!`) is one of the class; without an end, `[` is itself.
            close = pattern.find("]", at + (3 if pattern[at + 1:at + 2] == "!" else 2))
            end = close + 1 if close >= 0 else end
        token = pattern[at:end]
        if token != _STAR or found[-1:] != [_STAR]:
            found.append(token)
        at = end
    return found


def _share(one: str, other: str) -> bool:
    """True when two tokens that stand for one character each can mean the same one."""
    if "?" in (one, other) or (len(one) > 1 and len(other) > 1):
        return True
    if len(one) > 1:
        one, other = other, one
    return fnmatch.fnmatchcase(one, other) if len(other) > 1 else one == other
