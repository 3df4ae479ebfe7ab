"""Writes docs/performance.md and its charts from the results of a run: `python -m benchmarks.page`.

A part of the page stands between `<!-- measured: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import cases, charts, goals, report
from benchmarks.case import Contender
from benchmarks.results import Found, Spread, of_pairs

RESULTS = Path(__file__).with_name("results.json")
DOCS = Path(__file__).parents[1] / "docs"
PAGE = "performance.md"
_BLOCK = re.compile(
    r"(?P<head><!-- measured: (?P<name>[a-z-]+) -->\n).*?(?P<tail>^<!-- end -->$)",
    re.DOTALL | re.MULTILINE,
)
_OURS = ("send", "relay", "transport", "Async", "kochava")
_BUSY = 1.0  # load average
_WAS_BUSY = """
**The machine had other work to do as well. Until there is a run on a quiet one, these figures are
preliminary: rates are too low, and spreads too wide.**
"""
_NOT_MEASURED = "Not measured in the last run.\n"


def write(document: dict[str, Any], docs: Path = DOCS) -> None:
    """Bring the page and its charts up to date.

    Args:
        document: What a run has measured.
        docs: The folder with the page.
    """
    found = Found(document)
    for name, chart in drawn(found):
        path = docs / "images" / f"performance-{name}.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(chart, encoding="utf-8")
    path = docs / PAGE
    path.write_text(fresh(path.read_text(encoding="utf-8"), found), encoding="utf-8")


def fresh(page: str, found: Found) -> str:
    """A page with all its measured parts as they should be."""
    return _BLOCK.sub(
        lambda block: f"{block['head']}{BLOCKS[block['name']](found)}{block['tail']}", page
    )


def drawn(found: Found) -> Iterator[tuple[str, str]]:
    """The charts, by name; those of cases that were not run are left out."""
    if settings := found.settings("throughput"):
        rates = _rates(settings[0])
        # What no program in Python reaches would dwarf the rest.
        shown = [(name, rate) for name, rate in rates if name != cases.RAW.name]
        if shown:
            yield (
                "contenders",
                charts.bars(
                    "Requests a second, 16 at once, loopback, one core",
                    (
                        charts.Bar(name, rate, f"{rate:,.0f}", name.startswith(_OURS))
                        for name, rate in sorted(shown, key=lambda pair: -pair[1])
                    ),
                ),
            )
    panels = [
        charts.Panel(title, found_lines, "at once")
        for title, chosen in _by_latency(found.settings("concurrency"))
        if (found_lines := _lines(chosen, "concurrency", lambda rate: rate))
    ]
    if panels:
        yield "concurrency", charts.lines("Requests a second by concurrency", panels)
    settings = [*found.settings("scale"), *found.settings("million")]
    if cost := _lines(settings, "count", lambda rate: 1e6 / rate):
        panel = charts.Panel("Microseconds an event", cost, "events")
        yield "scale", charts.lines("Cost of an event by how many there are", [panel])


def _by_latency(settings: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for latency in dict.fromkeys(setting["latency"] for setting in settings):
        chosen = [setting for setting in settings if setting["latency"] == latency]
        yield f"{latency * 1000:.0f} ms", chosen


def _lines(
    settings: list[dict[str, Any]], across: str, value: Callable[[float], float]
) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for setting in settings:
        for name, rate in _rates(setting):
            found.setdefault(name, []).append((setting[across], value(rate)))
    return found


def _rates(setting: dict[str, Any]) -> list[tuple[str, float]]:
    return [
        (name, Spread.of(of["rates"]).median)
        for name, of in setting["contenders"].items()
        if not report.why_missing(of)
    ]


# The parts of the page


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _machine(found: Found) -> str:
    machine = {
        **found.document["machine"],
        "date": found.document["date"],
        "duration": f"{found.document.get('seconds', 0) / 60:.0f} minutes",
    }
    names = {
        "cpu": "CPU",
        "cores": "Cores",
        "system": "System",
        "python": "Python",
        "placed": "Who runs where",
        "sink": "Sink",
        "load": "Load average before the run (0 is quiet)",
        "date": "Date",
        "duration": "Duration",
    }
    rows = [(name, str(machine[key])) for key, name in names.items()]
    packages = found.document["packages"]
    rows.append(("Packages", ", ".join(f"{name} {of}" for name, of in packages.items() if of)))
    busy = (found.document["machine"]["load"] or 0) > _BUSY
    return _table(("What", "Which"), rows) + (_WAS_BUSY if busy else "")


def _goals(found: Found) -> str:
    return _table(("What", "Goal", "Measured", "Holds"), goals.rows(found))


def _alone(found: Found, case: str, baselines: Iterable[Contender] = ()) -> str:
    """A case with one setting: its contenders, and each by some of them."""
    settings = found.settings(case)
    if not settings:
        return _NOT_MEASURED
    contenders = settings[0]["contenders"]
    unit = found.document["cases"][case]["unit"]
    bare = [of.name for of in baselines if contenders.get(of.name, {}).get("rates")]
    head = ("", f"{unit.capitalize()} a second", *(f"by {name}" for name in bare))
    rows = (
        (name, *_row(of, [contenders[other] for other in bare])) for name, of in contenders.items()
    )
    return _table((*head, f"CPU, µs {_each(unit)}", "Most memory, MB"), rows)


def _each(unit: str) -> str:
    return f"{'an' if unit[0] in 'aeiou' else 'a'} {unit.removesuffix('s')}"


def _row(of: dict[str, Any], others: list[dict[str, Any]]) -> Iterator[str]:
    if missing := report.why_missing(of):
        yield from (missing, *("" for _ in others), "", "")
        return
    yield _written(Spread.of(of["rates"]))
    for other in others:
        ratio = of_pairs(of["rates"], other["rates"], lambda one, bare: one / bare)
        yield "" if ratio is None else f"{ratio.median:.2f}"
    yield f"{Spread.of(of['cpu_us']).median:,.0f}"
    yield f"{max(of['peak_mb']):,.0f}"


def _written(spread: Spread) -> str:
    if spread.low == spread.high:
        return f"{spread.median:,.0f}"
    return f"{spread.median:,.0f} ({spread.low:,.0f} to {spread.high:,.0f})"


def _several(found: Found, *names: str) -> str:
    """Cases with several settings: the rate of each contender in each."""
    settings = [setting for name in names for setting in found.settings(name)]
    if not settings:
        return _NOT_MEASURED
    contenders = list(dict.fromkeys(name for of in settings for name in of["contenders"]))
    rows = ((name, *(_cell(of, name) for of in settings)) for name in contenders)
    return _table(("Events a second", *map(report.describe, settings)), rows)


def _cell(setting: dict[str, Any], name: str) -> str:
    of = setting["contenders"].get(name)
    if of is None:
        return ""
    return report.why_missing(of) or f"{Spread.of(of['rates']).median:,.0f}"


def _concurrency(found: Found) -> str:
    settings = found.settings("concurrency")
    if not settings:
        return _NOT_MEASURED
    parts = []
    for title, chosen in _by_latency(settings):
        names = list(dict.fromkeys(name for of in chosen for name in of["contenders"]))
        rows = ((name, *(_cell(of, name) for of in chosen)) for name in names)
        head = (f"{title}: events a second", *(f"{of['concurrency']} at once" for of in chosen))
        parts.append(_table(head, rows))
    return "\n".join(parts)


_PARTS = (
    ("The request itself, by bare pycurl in one thread", cases.PYCURL_MULTI),
    ("Transport, order, retries, receipts, hand-over between two threads", cases.MANY_MAPPED),
    ("Making the message in the benchmark, and mapping it", cases.MANY_PYCURL),
)


def _parts(found: Found) -> str:
    """Where the CPU time of an event goes: what each step has more than the one before."""
    rows = []
    before = 0.0
    for what, contender in _PARTS:
        cpu = found.spread("throughput", contender, "cpu_us")
        if cpu is None:
            return _NOT_MEASURED
        rows.append((what, f"{cpu.median - before:,.0f}", f"{cpu.median:,.0f}"))
        before = cpu.median
    return _table(("What", "µs an event", "So far"), rows)


def _medians(found: Found, case: str) -> str:
    """How long one takes, where each was timed."""
    settings = found.settings(case)
    if not settings:
        return _NOT_MEASURED
    rows = [
        (name, f"{Spread.of(of['more']['median_us']).median:,.0f}")
        for name, of in settings[0]["contenders"].items()
        if "median_us" in of["more"]
    ]
    return _table(("", "Median, µs"), rows)


def _startup(found: Found) -> str:
    settings = found.settings("startup")
    if not settings:
        return _NOT_MEASURED
    rows = [
        (
            f"`{name}`",
            f"{1000 / rate:,.0f}",
            f"{max(settings[0]['contenders'][name]['peak_mb']):,.0f}",
        )
        for name, rate in _rates(settings[0])
    ]
    return _table(("", "Milliseconds, from start to end", "Most memory, MB"), rows)


def _scale(found: Found) -> str:
    settings = [*found.settings("scale"), *found.settings("million")]
    if not settings:
        return _NOT_MEASURED
    memory = (
        f"{max(found_one['peak_mb']):,.0f} MB"
        if (found_one := of["contenders"].get(cases.FILE_PYCURL.name)) and found_one["peak_mb"]
        else ""
        for of in settings
    )
    rows = _several(found, "scale", "million").replace("16 at once, count ", "")
    return rows + f"| {cases.FILE_PYCURL.name}: most memory | {' | '.join(memory)} |\n"


BLOCKS: dict[str, Callable[[Found], str]] = {
    "concurrency": _concurrency,
    "enqueue": partial(_alone, case="enqueue"),
    "enqueue-one": partial(_medians, case="enqueue"),
    "file": partial(_alone, case="file", baselines=(cases.MANY_PYCURL, cases.MANY_REQUESTS)),
    "goals": _goals,
    "machine": _machine,
    "mapping": partial(_alone, case="mapping", baselines=(cases.READ_AND_WRITE,)),
    "one": partial(_medians, case="one"),
    "ordering": lambda found: _several(found, "ordering"),
    "parts": _parts,
    "receiver": partial(_alone, case="receiver"),
    "scale": _scale,
    "sizes": lambda found: _several(found, "sizes"),
    "slow-server": lambda found: _several(found, "slow_server"),
    "startup": _startup,
    "throughput": partial(
        _alone, case="throughput", baselines=(cases.PYCURL, cases.ADAPTER_SEND, cases.SEGMENT)
    ),
    "tls": partial(_alone, case="tls", baselines=(cases.PYCURL, cases.SEGMENT)),
    "two-relays": lambda found: _several(found, "two_relays"),
}


def main() -> None:
    """Bring the page up to date with the last run that was kept."""
    write(json.loads(RESULTS.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
