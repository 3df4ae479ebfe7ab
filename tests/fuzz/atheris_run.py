"""Fuzzes a target with atheris, libFuzzer for Python: coverage leads it to new inputs.

    pip install -e '.[all,test]' --group fuzz
    python -m tests.fuzz.atheris_run messages --seconds 600

It ends at the first input that breaks a promise, and says in which file that input is. The targets are
in `targets.py`. atheris has wheels for Linux and a few Pythons only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["kochava_segment"]):
    from tests.fuzz.targets import TARGETS, seeds


def main() -> None:
    """Run one target for a while."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, help="a folder of inputs, to go on from another run")
    given = parser.parse_args()
    corpus = given.corpus or Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(given.target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={given.seconds}", "-timeout=10", "-rss_limit_mb=2048"]
    arguments = [sys.argv[0], *limits, "-max_len=8192", f"-artifact_prefix={corpus}/", str(corpus)]
    atheris.Setup(arguments, TARGETS[given.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
