"""Who is told of a fork. What comes of it is in test_delivery.py and test_transports.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from weakref import WeakSet

import pytest

from kochava_segment.delivery import after_fork
from kochava_segment.delivery.outbox import Outbox


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


_FORKS_WHILE_A_THREAD_IMPORTS = """
import os, signal, sys, threading, time
from kochava_segment.delivery.network_settings import network_settings

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "requests.utils":
            under_way.set()
            time.sleep(0.3)

assert "requests" not in sys.modules
under_way = threading.Event()
sys.meta_path.insert(0, Slow())
threading.Thread(target=network_settings, args=["https://example.com"]).start()
assert under_way.wait(10)
child = os.fork()
if not child:
    signal.alarm(10)  # so that nobody hangs for ever
    network_settings("https://example.com")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_child_that_is_born_while_a_thread_imports_can_import_it_as_well():
    command = [sys.executable, "-c", _FORKS_WHILE_A_THREAD_IMPORTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_fork_that_waits_for_an_import_holds_up_nobody_at_the_outbox(tmp_path):
    def import_and_write():
        with after_fork.imports_in_a_thread():
            under_way.set()
            time.sleep(0.3)
            with box.file.writing():
                pass

    box = Outbox(tmp_path / "outbox.sqlite3")
    under_way = threading.Event()
    thread = threading.Thread(target=import_and_write)
    thread.start()
    assert under_way.wait(10)
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if not child:
        os._exit(0)
    took = time.monotonic() - began
    os.waitpid(child, 0)
    thread.join()
    box.close()
    assert took < after_fork._PATIENCE - 0.5
