"""The command line's entry point: `kochava-segment` and `python -m kochava_segment`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        from kochava_segment.cli import cli  # noqa: PLC0415  # it needs the extra
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.stderr.write("The command line needs an extra: pip install 'kochava-segment[cli]'\n")
        sys.exit(2)
    cli(prog_name="kochava-segment")


if __name__ == "__main__":
    main()
