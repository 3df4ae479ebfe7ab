"""The metrics of a running receiver, as a table, for `generate.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from kochava_segment import DryRunTransport, KochavaDestination
from kochava_segment.delivery.prometheus import PrometheusHook
from kochava_segment.server.metrics import Metrics
from kochava_segment.server.status import CountedDepth

PREFIX = "kochava_segment_"


def metrics() -> str:
    """All metrics: how they are called, what kind they are, their labels and what they say."""
    rows = ["| Name | Kind | Labels | What it says |", "| --- | --- | --- | --- |"]
    with TemporaryDirectory() as folder:
        hook = PrometheusHook(CollectorRegistry())
        with KochavaDestination(
            "koexample-app-guid",
            outbox=str(Path(folder, "outbox.sqlite3")),
            relay=False,
            transport=DryRunTransport(),
            hooks=[hook],
        ) as destination:
            exposed = Metrics(destination, None, CountedDepth(destination.outbox))
            for registry in (exposed.registry, hook.registry):
                rows += _rows(registry)
    return "\n".join(rows)


def _rows(registry: CollectorRegistry) -> Iterator[str]:
    for collector in registry._collector_to_names:
        if isinstance(collector, MetricWrapperBase):
            labels = collector._labelnames
            described = collector.describe()
        else:
            labels = ()
            described = collector.collect()
        for family in described:
            name = family.name.removeprefix(PREFIX) + ("_total" if family.type == "counter" else "")
            names = getattr(family, "_labelnames", labels)  # of gauges that are made when asked for
            shown = ", ".join(f"`{label}`" for label in names)
            yield f"| `{name}` | {family.type} | {shown} | {family.documentation} |"
