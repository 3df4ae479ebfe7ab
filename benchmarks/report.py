"""What a run says on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import goals as goal_table
from benchmarks.results import Found, Spread, of_pairs

_DEFAULTS = {"latency": 0.0, "tls": False, "size": None, "events_per_device": 1, "count": None}


def surroundings(document: Mapping[str, Any]) -> str:
    """On what it was measured, in a line or two."""
    machine = document["machine"]
    packages = ", ".join(f"{name} {of}" for name, of in document["packages"].items() if of)
    return f"{', '.join(f'{name}: {value}' for name, value in machine.items())}\n{packages}"


def case(found: Mapping[str, Any]) -> str:
    """The rates of a case, and each by the first contender's in the same rounds."""
    lines = [f"\n{found['title']} ({found['rounds']} rounds)"]
    for setting in found["settings"]:
        lines.append(f"  {describe(setting)}")
        lines += _aligned(
            _contender(name, of, setting["contenders"], found["unit"])
            for name, of in setting["contenders"].items()
        )
    lines += [f"  without {name}: {why}" for name, why in found["absent"].items()]
    return "\n".join(lines)


def _contender(
    name: str, found: Mapping[str, Any], all_: Mapping[str, Any], unit: str
) -> Sequence[str]:
    if missing := why_missing(found):
        return ("", name, missing)
    rate = Spread.of(found["rates"])
    first, of = next(iter(all_.items()))
    ratio = of_pairs(found["rates"], of["rates"], lambda one, other: one / other)
    more = ", ".join(
        f"{word} {Spread.of(values).median:,.0f}" for word, values in found["more"].items()
    )
    return (
        "",
        name,
        f"{rate.median:,.0f} {unit}/s",
        f"({rate.low:,.0f} to {rate.high:,.0f})",
        "" if ratio is None or name == first else f"{ratio.median:.2f} x {first}",
        f"{Spread.of(found['cpu_us']).median:,.0f} µs CPU",
        f"{max(found['peak_mb']):,.0f} MB",
        more,
    )


def why_missing(found: Mapping[str, Any]) -> str:
    """Why a contender has no figures, if it has none that count."""
    if "failed" in found:
        return f"failed: {found['failed']}"
    if found["rates"]:
        return ""
    return str(found.get("skipped", "not measured"))


def goals(document: dict[str, Any]) -> str:
    """The goals, and whether they are reached."""
    return "\nGoals\n" + "\n".join(
        _aligned(("", *row) for row in goal_table.rows(Found(document)))
    ).replace("**", "").replace("`", "")


def describe(setting: Mapping[str, Any]) -> str:
    """A setting in words."""
    words = [f"{setting['concurrency']} at once"]
    words += [
        f"{name.replace('_', ' ')} {setting[name]}"
        for name, usual in _DEFAULTS.items()
        if setting[name] != usual
    ]
    return ", ".join(words)


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in enumerate(row):
            widths[column] = max(widths.get(column, 0), len(cell))
    return [
        "  ".join(f"{cell:<{widths[column]}}" for column, cell in enumerate(row)).rstrip()
        for row in rows
    ]
