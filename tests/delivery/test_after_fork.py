"""Who is told of a fork. What comes of it is in test_delivery.py and test_transports.py."""

from __future__ import annotations

import os
from weakref import WeakSet

import pytest

from kochava_segment.delivery import after_fork


class Renewable:
    def __init__(self):
        self.renewed_in = []

    def after_fork(self):
        self.renewed_in.append(os.getpid())


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setattr(after_fork, "_renewables", WeakSet())


def test_all_that_are_alive_are_renewed():
    renewables = [Renewable(), Renewable()]
    for renewable in renewables:
        after_fork.renew_after_fork(renewable)
    after_fork._renew_all()
    assert [renewable.renewed_in for renewable in renewables] == [[os.getpid()]] * 2


def test_nobody_is_kept_alive_for_it():
    after_fork.renew_after_fork(Renewable())
    assert len(after_fork._renewables) == 0
