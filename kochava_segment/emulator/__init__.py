"""A local Kochava for tests, demos and your own CI. It checks against documents, not Kochava."""

from __future__ import annotations

from kochava_segment.emulator.checks import rules_table
from kochava_segment.emulator.faults import Faults
from kochava_segment.emulator.rule import Complaint
from kochava_segment.emulator.server import KochavaEmulator, ReceivedRequest

__all__ = ["Complaint", "Faults", "KochavaEmulator", "ReceivedRequest", "rules_table"]
