"""Whether the type of every public name is known, down to its attributes and parameters.

basedpyright looks at the whole package; what docs/reference.py does not list is nobody else's. Sinks
and sources of Apache Beam are left out: it is not installed where types are checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import reference


def public() -> Iterator[str]:
    """The public names, by the modules that define them."""
    root = reference.PACKAGE.parent
    for subject in reference.SUBJECTS:
        for name in reference.names_of(subject):
            path = name.path.relative_to(root).with_suffix("")
            if "beam" not in path.parts:
                yield ".".join((*path.parts, name.name)).replace(".__init__.", ".")


def symbols() -> list[dict[str, Any]]:
    """All that basedpyright knows of the package."""
    command = ["basedpyright", "--verifytypes", "kochava_segment", "--ignoreexternal"]
    done = subprocess.run(
        [*command, "--outputjson"], capture_output=True, text=True, check=False, timeout=600
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    return found


def main() -> None:
    """Say how many there are, and fail if the type of one is not known."""
    names = tuple(public())
    ours = [
        symbol
        for symbol in symbols()
        if symbol["isExported"] and f"{symbol['name']}.".startswith(tuple(f"{n}." for n in names))
    ]
    unknown = [symbol for symbol in ours if not symbol["isTypeKnown"]]
    for symbol in unknown:
        sys.stdout.write(f"{symbol['name']}\n")
        for diagnostic in symbol["diagnostics"]:
            sys.stdout.write(f"    {diagnostic['message']}\n")
    sys.stdout.write(f"{len(ours) - len(unknown)} of {len(ours)} public symbols have known types\n")
    if unknown or len(ours) < len(names):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
