"""Ids of requests: `req_` and a ULID, 48 bits of time and 80 random ones in Crockford's base 32.

Written out here because every request gets one and the library takes longer than a verdict; a test reads them
back with the library. Must not import routes, services or the store. Spec: github.com/ulid/spec.
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
_PAIRS: Final = tuple(first + second for first in _DIGITS for second in _DIGITS)
_RANDOM_BYTES: Final = 10
_POOL_IDS: Final = 64


class RequestIds:
    """Makes ids for one event loop; not for several threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._millisecond = -1
        self._start = ""
        self._pool = b""

    def make(self) -> str:
        """Return a fresh id."""
        millisecond = int(self._clock() * 1000)
        if millisecond != self._millisecond:
            self._millisecond, self._start = millisecond, "req_" + _pairs_of(millisecond, 5)
        if not self._pool:
            self._pool = os.urandom(_RANDOM_BYTES * _POOL_IDS)
        random, self._pool = self._pool[:_RANDOM_BYTES], self._pool[_RANDOM_BYTES:]
        return self._start + _pairs_of(int.from_bytes(random, "big"), 8)

    def take(self, sent: bytes) -> str:
        """Return the id that a caller sent, if it is of our form, else a fresh one."""
        return sent.decode("ascii") if REQUEST_ID.fullmatch(sent) else self.make()


def _pairs_of(number: int, pairs: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(10 * (pairs - 1), -1, -10)])
