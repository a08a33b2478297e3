"""A seeded mutator over golden inputs: fast, the same run for the same seed, no knowledge of any format.

Each input is a golden one with one to four changes: bits, bytes, numbers at the edge, slices cut, doubled or taken from
another golden input, and words that parsers have stumbled over.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

#: What parsers of JSON, CSV, headers and multipart have been seen to stumble over.
WORDS = tuple(
    word.encode("utf-8", "surrogatepass")
    for word in (
        *('"', "{", "}", "[", "]", ",", ":", "null", "true", "NaN", "-Infinity", "1e400", "-0", "0.1", "1E2"),
        *(
            "9007199254740993",
            "18446744073709551616",
            "-1",
            "\\u0000",
            "\\ud800",
            "\\udfff\\ud800",
            "\\u0041",
        ),
        *(
            "e\u0301",
            "\ufeff",
            "\u202e",
            "\ud800",
            "\x00",
            "\r\n",
            "\r\n\r\n",
            "\n",
            "--",
            "--x--",
            ";",
            "=",
            "%00",
        ),
        *(
            "../",
            "0x",
            "0x0",
            "0x00",
            "=",
            "==",
            "AA==",
            "\x80",
            "\t",
            "'",
            '""',
            '{"a":1,"a":2}',
            "[[[[[[[[",
        ),
    )
)
_EDGES = (0x00, 0x01, 0x7F, 0x80, 0xC0, 0xF8, 0xFF)
_MAX_BYTES = 64 << 10


def inputs(corpus: Sequence[bytes], *, count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` inputs; the golden ones themselves come first."""
    yield from corpus[:count]
    chance = random.Random(seed)
    pick, draw = chance.choice, chance.random
    for _ in range(count - len(corpus[:count])):
        changed = bytearray(pick(corpus))
        for _ in range(1 + int(4 * draw() ** 2)):
            _change(changed, corpus, chance)
        yield bytes(changed[:_MAX_BYTES])


def _change(value: bytearray, corpus: Sequence[bytes], chance: random.Random) -> None:
    draw = chance.random
    size = len(value)
    at = int(draw() * size) if size else 0
    kind = int(draw() * 9)
    if kind <= 1 and size:
        value[at] ^= 1 << int(draw() * 8)
    elif kind == 2 and size:
        value[at] = _EDGES[int(draw() * len(_EDGES))]
    elif kind == 3:
        value[at:at] = WORDS[int(draw() * len(WORDS))]
    elif kind == 4:
        word = WORDS[int(draw() * len(WORDS))]
        value[at : at + len(word)] = word
    elif kind == 5:
        del value[at : at + 1 + int(draw() * 8)]
    elif kind == 6:
        length = 1 + int(draw() * 32)
        value[at:at] = value[at : at + length]
    elif kind == 7:
        other = chance.choice(corpus)
        start = int(draw() * len(other)) if other else 0
        value[at : at + int(draw() * 32)] = other[start : start + int(draw() * 32)]
    elif draw() < 0.3:
        del value[at:]
    else:
        del value[at : at + 1]
