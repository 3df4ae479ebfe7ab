"""What a forked child must make anew: its parent's connections, and locks that nobody opens."""

from __future__ import annotations

# Before us, since modules that are imported ask for its lock: a fork takes locks in the reverse order.
import logging  # noqa: F401
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet


class _Renewable(Protocol):
    def after_fork(self) -> None:
        """Called in the child before anything else runs there, so no lock is needed."""


_renewables: WeakSet[_Renewable] = WeakSet()

_importing = threading.RLock()
_held: list[bool] = []  # whether the fork that is under way has got that lock
_PATIENCE = 5.0  # seconds that a fork waits for an import: what that needs may be held by the fork


def renew_after_fork(renewable: _Renewable) -> None:
    """Have `renewable.after_fork()` called in every child that this process forks."""
    _renewables.add(renewable)


def keep_for_ever(thing: object) -> None:
    """Have something of the parent's never freed, where freeing it would touch what is the parent's.

    To be called in the child.
    """
    import ctypes  # noqa: PLC0415  # few processes fork with anything of this kind

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@contextmanager
def imports_in_a_thread() -> Iterator[None]:
    """Hold up all forks while a thread of ours imports something.

    Python locks a module while it is loaded. For a child that is born meanwhile it would stay locked
    for ever, and half loaded.
    """
    with _importing:
        yield


def wait_for_imports() -> None:
    """Before a fork takes locks of its own that threads of ours may want: wait until none imports."""
    if _importing.acquire(timeout=_PATIENCE):
        _importing.release()


def _renew_all() -> None:
    for renewable in tuple(_renewables):
        renewable.after_fork()


def _before_fork() -> None:
    _held.append(_importing.acquire(timeout=_PATIENCE))


def _after_fork_in_parent() -> None:
    if _held.pop():
        _importing.release()


def _after_fork_in_child() -> None:
    global _importing  # noqa: PLW0603  # whoever holds it may not be there
    _importing = threading.RLock()
    _held.clear()
    _renew_all()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
