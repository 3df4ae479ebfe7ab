"""What a forked child must make anew: its parent's connections, and locks that nobody opens."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class _Renewable(Protocol):
    def after_fork(self) -> None:
        """Called in the child before anything else runs there, so no lock is needed."""


_renewables: WeakSet[_Renewable] = WeakSet()


def renew_after_fork(renewable: _Renewable) -> None:
    """Have `renewable.after_fork()` called in every child that this process forks."""
    _renewables.add(renewable)


def keep_for_ever(thing: object) -> None:
    """Have something of the parent's never freed, where freeing it would touch what is the parent's.

    To be called in the child.
    """
    import ctypes  # noqa: PLC0415  # few processes fork with anything of this kind

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _renew_all() -> None:
    for renewable in tuple(_renewables):
        renewable.after_fork()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_renew_all)
