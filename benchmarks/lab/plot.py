"""Line plots as SVG, written by hand: a few kilobytes, no dependency, readable in a diff."""

from collections.abc import Callable, Sequence
from html import escape
from math import floor, log10
from pathlib import Path
from typing import NamedTuple

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 400, 60, 190, 34, 48
_COLOURS = ("#1b6ca8", "#c8553d", "#2e8b57", "#8458b3", "#b8860b", "#555555", "#d16ba5", "#20a4a4")


class Line(NamedTuple):
    """One curve; `low` and `high` draw a band around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def plot(file: Path, title: str, x_label: str, y_label: str, lines: Sequence[Line], *, log_x: bool = False) -> None:
    """Write the plot. With `log_x` every x must be above 0."""
    scale = [log10(x) if log_x else x for line in lines for x in line.x]
    values = [y for line in lines for y in (*line.y, *line.low, *line.high)]
    (left, right), (bottom, top) = (min(scale), max(scale)), _room(min(values), max(values))

    def at(x: float, y: float) -> str:
        across = ((log10(x) if log_x else x) - left) / ((right - left) or 1)
        up = (y - bottom) / ((top - bottom) or 1)
        return f"{_LEFT + across * (_WIDTH - _LEFT - _RIGHT):.1f},{_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM):.1f}"

    parts = [_text(_WIDTH / 2, 18, title, "middle"), _text(_LEFT + 195, _HEIGHT - 8, x_label, "middle"), _text(6, 28, y_label, "start")]
    parts += [_tick_y(at(_plain(left, log_x), y), y) for y in _ticks(bottom, top)]
    parts += [_tick_x(at(x, bottom), x) for x in sorted({x for line in lines for x in line.x} if log_x else _ticks(left, right))]
    for number, line in enumerate(lines):
        parts += _curve(line, _COLOURS[number % len(_COLOURS)], number, [at(x, y) for x, y in zip(line.x, line.y, strict=True)], at)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12">'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([head, f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>', *parts, "</svg>", ""]), encoding="utf-8")


def _room(low: float, high: float) -> tuple[float, float]:
    reach = (high - low) or 1.0
    return low - 0.05 * reach, high + 0.05 * reach


def _plain(x: float, log_x: bool) -> float:
    return 10**x if log_x else x


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between the ends."""
    raw = (high - low) / 5 or 1.0
    size = 10.0 ** floor(log10(raw))
    step = next(size * f for f in (1, 2, 5, 10) if size * f >= raw)
    first = int(low // step) + 1
    return [n * step for n in range(first, int(high // step) + 1)]


def _curve(line: Line, colour: str, number: int, points: list[str], at: Callable[[float, float], str]) -> list[str]:
    y = _TOP + 16 * number + 10
    parts = [f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>']
    parts += [f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="2.5" fill="{colour}"/>' for p in points if len(points) <= 20]
    if line.low:
        around = [at(x, v) for x, v in zip(line.x, line.high, strict=True)]
        around += [at(x, v) for x, v in zip(reversed(line.x), reversed(line.low), strict=True)]
        parts.insert(0, f'<polygon points="{" ".join(around)}" fill="{colour}" opacity="0.13"/>')
    right = _WIDTH - _RIGHT + 12
    parts.append(f'<line x1="{right}" x2="{right + 16}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="2"/>')
    return [*parts, _text(right + 20, y, line.name, "start")]


def _tick_x(place: str, x: float) -> str:
    across, up = place.split(",")
    return f'<line x1="{across}" x2="{across}" y1="{up}" y2="{float(up) + 4}" stroke="#444"/>' + _text(
        float(across), float(up) + 17, f"{x:g}", "middle"
    )


def _tick_y(place: str, y: float) -> str:
    across, up = place.split(",")
    return f'<line x1="{across}" x2="{_WIDTH - _RIGHT}" y1="{up}" y2="{up}" stroke="#ddd"/>' + _text(
        float(across) - 5, float(up) + 4, f"{y:g}", "end"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
