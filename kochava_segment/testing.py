"""The pytest plugin: the fixture `kochava_emulator`. Installed with the package, nothing to set up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kochava_segment.emulator import KochavaEmulator


@pytest.fixture
def kochava_emulator() -> Iterator[KochavaEmulator]:
    """A Kochava emulator on a free port of 127.0.0.1; see docs/testing.md."""
    from kochava_segment.emulator import KochavaEmulator  # noqa: PLC0415  # only who uses it pays

    with KochavaEmulator() as emulator:
        yield emulator
