"""Ids of requests: `req_` and a ULID, 48 bits of time and 64 random ones in Crockford's base 32.

Made here because every request gets one and the library takes longer than a verdict: the random part is
written in base 16, whose digits base 32 has too. A test reads ids back with the library.
Must not import routes, services or the store. Spec: github.com/ulid/spec.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Final

# A request id is repeated in answers and logs, so only our own form is taken: it has no room for other text.
REQUEST_ID: Final = re.compile(rb"req_[0-7][0-9A-HJKMNP-TV-Z]{25}")
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_DIGITS: Final = 16
_POOL_IDS: Final = 64


class RequestIds:
    """Makes ids for one event loop; not for several threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._millisecond = -1
        self._start = ""
        self._pool: list[str] = []

    def make(self) -> str:
        """Return a fresh id."""
        millisecond = int(self._clock() * 1000)
        if millisecond != self._millisecond:
            time_digits = [_DIGITS[millisecond >> shift & 31] for shift in range(45, -1, -5)]
            self._millisecond, self._start = millisecond, "req_" + "".join(time_digits)
        if not self._pool:
            digits = os.urandom(_RANDOM_DIGITS * _POOL_IDS // 2).hex().upper()
            self._pool = [digits[at : at + _RANDOM_DIGITS] for at in range(0, len(digits), _RANDOM_DIGITS)]
        return self._start + self._pool.pop()

    def take(self, sent: bytes) -> str:
        """Return the id that a caller sent, if it is of our form, else a fresh one."""
        return sent.decode("ascii") if sent and REQUEST_ID.fullmatch(sent) else self.make()
