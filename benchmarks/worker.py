"""The process in which a contender works: one for each, so that memory and CPU are its own."""

from __future__ import annotations

import gc
import importlib
import os
import resource
import sys
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from attrs import field, frozen

from benchmarks import cores
from benchmarks.case import Contender, Setting

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_BUNDLE = "REQUESTS_CA_BUNDLE"


@frozen(kw_only=True)
class Turn:
    """What a contender did in a turn.

    Attributes:
        count: How much work.
        posted: As many requests the sink should have counted, those off the clock included.
        seconds: How long it took.
        cpu: Seconds of CPU time meanwhile, those of child processes that do the work included.
        peak: The most bytes of memory that the process has had, up to now.
        more: What else was measured.
    """

    count: int
    posted: int
    seconds: float
    cpu: float
    peak: int
    more: dict[str, float] = field(factory=dict)


def serve(connection: Connection, contender: Contender) -> None:
    """Do what the other end asks for, `(setting, count)` by `(setting, count)`, until it says None."""
    if hasattr(os, "setsid"):
        os.setsid()  # so that what it starts can be ended with it
    cores.pin_to_first()
    for name in [*_PROXIES, *map(str.upper, _PROXIES)]:
        os.environ.pop(name, None)  # nothing here is to leave this machine
    for name in contender.without:
        sys.modules[name] = None  # type: ignore[assignment]  # an import fails then
    while (asked := _received(connection)) is not None:
        try:
            answer: Turn | str = _turn(contender, *asked)
        except Exception:  # noqa: BLE001  # the run reports it, and goes on without this one
            answer = traceback.format_exc()
        connection.send(answer)


def _received(connection: Connection) -> Any:
    try:
        return connection.recv()
    except (EOFError, OSError):  # the run was killed
        return None


def _turn(contender: Contender, setting: Setting, count: int) -> Turn:
    module, _, name = contender.make.partition(":")
    make: Any = getattr(importlib.import_module(f"benchmarks.contenders.{module}"), name)
    os.environ.pop(_BUNDLE, None)
    if setting.certificate is not None:
        os.environ[_BUNDLE] = setting.certificate
    with make(setting, **contender.arguments) as work:
        few = min(count, 2 * setting.concurrency) if work.warm_up else 0
        if few:
            work.prepare(few)
            work.run(few)
        work.prepare(count)
        gc.collect()
        cpu, began = _cpu(), time.perf_counter()
        more = dict(work.run(count) or {})
        seconds = time.perf_counter() - began
        cpu = _cpu() - cpu
    peak = int(more.pop("peak", 0)) or _peak()
    cpu = more.pop("cpu", cpu)
    seconds = more.pop("seconds", seconds)
    return Turn(
        count=count,
        posted=work.posted + few + count,
        seconds=seconds,
        cpu=cpu,
        peak=peak,
        more=more,
    )


def _cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_of(process: int | str) -> int:
    """The most bytes of memory that a process has had; 0 where that cannot be told."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 if "VmHWM:" in status else 0


def cpu_of(process: int) -> float:
    """Seconds of CPU time that a process has used; 0 where that cannot be told."""
    try:
        fields = (
            Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
        )
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak() -> int:
    # What getrusage says, a child has from its parent in part.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_of("self") or own * (1 if sys.platform == "darwin" else 1024)
