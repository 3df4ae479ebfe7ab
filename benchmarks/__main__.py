"""Measures the library against the barest ways of doing the same, and other SDKs.

A whole run takes some 25 minutes on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import cores, page, report, sink
from benchmarks.cases import all_cases
from benchmarks.running import Pace, run

_PACKAGES = (
    *("kochava-segment", "requests", "urllib3", "pycurl", "orjson", "aiohttp"),
    *("segment-analytics-python", "posthog"),
)


def main() -> None:
    """Measure what was asked for."""
    names = [case.name for case in all_cases()]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="does it run? Its figures say little")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="CASE", help=f"any of {', '.join(names)}"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write results here, after each round"
    )
    parser.add_argument(
        "--minutes", type=float, default=25.0, help="begin nothing that would take longer"
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help=f"a run to be published: writes {page.RESULTS.name}, docs/performance.md and its charts",
    )
    arguments = parser.parse_args()
    file = arguments.json or (page.RESULTS if arguments.page else None)

    found: dict[str, Any] = {**_surroundings(), "quick": arguments.quick, "cases": {}}
    print(report.surroundings(found))
    pace = Pace(until=time.monotonic() + 60 * arguments.minutes, quick=arguments.quick)
    began = time.monotonic()
    for case in all_cases(quick=arguments.quick):
        if arguments.only is None or case.name in arguments.only:

            def keep(so_far: dict[str, Any], name: str = case.name) -> None:
                found["cases"][name] = so_far
                found["seconds"] = round(time.monotonic() - began)
                _write(found, file)

            keep(run(case, pace, _say, keep))
            print(report.case(found["cases"][case.name]), flush=True)
    if not arguments.quick:
        print(report.goals(found))
    if arguments.page:
        page.write(found)


def _say(text: str) -> None:
    print(f"failed: {text}", flush=True)


def _write(found: dict[str, Any], file: Path | None) -> None:
    """Write what is known; whoever kills a run keeps it."""
    if file is not None:
        new = file.with_name(file.name + ".new")
        new.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        new.replace(file)


def _surroundings() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.release().partition('-')[0]}",
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "placed": cores.described(),
            "sink": sink.described(),
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        },
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
