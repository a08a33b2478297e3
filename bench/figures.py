"""A figure, its ratio and its goal; medians; the table. Pure but for `versions`, which asks the machine."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar

T = TypeVar("T")
PACKAGES = (
    "fastapi",
    "uvicorn",
    "uvloop",
    "msgspec",
    "plyvel",
    "cryptography",
    "coincurve",
    "orjson",
    "httpx",
)
HEADINGS = ("stage", "n", "product", "peer or floor, same run", "ratio", "goal", "")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `product` and `peer` are in the same `unit`; `goal` bounds the ratio product : peer.

    With `goal` None the line informs only. `floor` names what was measured beside the product.
    """

    stage: str
    n: str
    product: float
    peer: float
    unit: str
    floor: str
    ratio: float
    goal: float | None
    at_least: bool = True

    @property
    def holds(self) -> bool | None:
        """Say whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal

    def cells(self) -> tuple[str, ...]:
        """Render the line."""
        goal = "" if self.goal is None else f"{'≥' if self.at_least else '≤'} {self.goal:g}"
        mark = {True: "met", False: "missed", None: ""}[self.holds]
        peer = f"{render_number(self.peer)} {self.unit}: {self.floor}"
        product = f"{render_number(self.product)} {self.unit}"
        return (self.stage, self.n, product, peer, f"{self.ratio:.2f}", goal, mark)


def compare(
    stage: str,
    n: str,
    pairs: Sequence[tuple[float, float]],
    *,
    unit: str,
    floor: str,
    goal: float | None,
    at_least: bool = True,
) -> Figure:
    """Make a figure from rounds of (product, peer); the ratio is the median of the rounds' own ratios.

    Product and peer of one round run directly after each other, so what else the machine does bends both.
    """
    product = statistics.median(one for one, _ in pairs)
    peer = statistics.median(other for _, other in pairs)
    ratio = statistics.median(one / other for one, other in pairs)
    return Figure(stage, n, product, peer, unit, floor, ratio, goal, at_least)


def alternate(rounds: int, product: Callable[[int], T], peer: Callable[[int], T]) -> list[tuple[T, T]]:
    """Measure both in turn, `rounds` times; each call gets the number of its round."""
    pairs = []
    for number in range(rounds):
        other = peer(number)
        pairs.append((product(number), other))
    return pairs


def render_number(value: float) -> str:
    """Render with three digits or more and thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def render_table(figures: Sequence[Figure]) -> str:
    """Render figures as a Markdown table with aligned columns."""
    lines = [HEADINGS, *(figure.cells() for figure in figures)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    rendered = ["| " + " | ".join(_padded(line, widths)) + " |" for line in lines]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([rendered[0], rule, *rendered[1:]])


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]


def versions() -> str:
    """Return one line: processors, system, interpreter and the packages that the figures hang on."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{cores}; {system}; Python {platform.python_version()}; {packages}"
