"""Runs the cases and reports: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import platform
from importlib import import_module
from typing import Any

import kochava_segment
from benchmarks import cases, cores
from benchmarks.case import Case, Result, measure


def main() -> None:
    """Measure what was asked for."""
    names = sorted(module.name for module in pkgutil.iter_modules(cases.__path__))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"which cases: {', '.join(names)}; else all")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: does it run?")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    arguments = parser.parse_args()
    unknown = set(arguments.case) - set(names)
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}")

    cores.pin_to_first()
    report: dict[str, Any] = {**_surroundings(), "quick": arguments.quick, "cases": []}
    if not arguments.json:
        print(", ".join(str(value) for value in _surroundings().values()))
    for name in arguments.case or names:
        with import_module(f"benchmarks.cases.{name}").case(quick=arguments.quick) as case:
            results = measure(case)
        if arguments.json:
            report["cases"].append(_as_dict(case, results))
        else:
            _print(case, results)
    if arguments.json:
        print(json.dumps(report, indent=2))


def _surroundings() -> dict[str, str]:
    return {
        "version": f"kochava-segment {kochava_segment.__version__}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "cores": cores.described(),
    }


def _as_dict(case: Case, results: list[Result]) -> dict[str, Any]:
    return {
        "name": case.name,
        "title": case.title,
        "unit": case.unit,
        "count": case.count,
        "rounds": case.rounds,
        "results": [result.as_dict() for result in results],
    }


def _print(case: Case, results: list[Result]) -> None:
    print(f"\n{case.title} ({case.count} {case.unit} a round, {case.rounds} rounds)")
    width = max(len(result.contender) for result in results)
    for result in results:
        rate = result.rate
        print(
            f"  {result.contender:<{width}}  {rate.median:>9,.0f} {case.unit}/s"
            f"  ({rate.low:,.0f} to {rate.high:,.0f})"
        )
        for baseline, ratio in result.ratios.items():
            print(
                f"  {'':<{width}}  {ratio.median:>9.2f} x {baseline}"
                f"  ({ratio.low:.2f} to {ratio.high:.2f})"
            )


if __name__ == "__main__":
    main()
