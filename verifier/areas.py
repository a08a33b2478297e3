"""Area codes by GB/T 2260 (the table that python-stdnum carries, with the codes that are no longer in use).

Years of validity are left out on purpose: an id keeps the code under which it was given, and papers name
districts long after they were merged. Must not import anything but stdnum.
"""

from __future__ import annotations

from functools import lru_cache

from stdnum import numdb

_AREA_DIGITS = 6


@lru_cache(maxsize=8192)
def is_area(code: str) -> bool:
    """Return whether `code` is a six-digit province, prefecture or county code of GB/T 2260."""
    if len(code) != _AREA_DIGITS or not (code.isascii() and code.isdigit()):
        return False
    # `info` answers one part per level of the table; two parts with properties mean province and county.
    parts = numdb.get("cn/loc").info(code)
    return len(parts) == 2 and all(properties for _, properties in parts)
