"""The Grafana dashboard, for `generate.py`: what each panel asks Prometheus, and how it is drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import frozen

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24  # of Grafana's grid
_HERE = 'instance=~"$instance"'
_GREEN, _YELLOW, _RED = "green", "yellow", "red"
# From which value on a number is no longer green.
_Steps = tuple[tuple[float, str], ...]
_ANY_IS_BAD: _Steps = ((1, _RED),)


@frozen
class Query:
    """What a panel asks.

    Attributes:
        expression: In PromQL. `HERE` stands for the instances that are looked at.
        legend: How a series is called.
    """

    expression: str
    legend: str


@frozen(kw_only=True)
class Panel:
    """A panel.

    Attributes:
        title: What it shows.
        says: What it means, and what to do.
        queries: What it asks.
        unit: Grafana's name of the unit.
        kind: `stat` for a number now, `timeseries` for a course.
        steps: From which values on it is coloured.
        words: Words that are shown in place of values.
        stacked: Draw series on top of each other.
        width: Of 24.
    """

    title: str
    says: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    steps: _Steps = ()
    words: tuple[tuple[str, str, str], ...] = ()
    stacked: bool = False
    width: int = 8


def _stat(title: str, says: str, expression: str, steps: _Steps, **more: Any) -> Panel:
    return Panel(
        title=title,
        says=says,
        queries=(Query(expression, "{{queue}}"),),
        kind="stat",
        steps=steps,
        width=4,
        **more,
    )


def _quantiles(metric: str, by: str, *quantiles: float) -> tuple[Query, ...]:
    return tuple(
        Query(
            f"histogram_quantile({quantile}, sum by (le, {by}) "
            f"(rate({metric}_bucket{{HERE}}[$__rate_interval])))",
            f"{quantile * 100:g} % {{{{{by}}}}}",
        )
        for quantile in quantiles
    )


_NOW = (
    _stat(
        "Oldest message waits",
        "How long the oldest undelivered message has waited. Minutes: Kochava or the relay is in trouble.",
        "max by (queue) (kochava_segment_outbox_oldest_seconds{HERE})",
        ((60, _YELLOW), (900, _RED)),
        unit="s",
    ),
    _stat(
        "Waiting",
        "Undelivered requests that are on their way, or wait for their turn.",
        'sum by (queue) (kochava_segment_outbox_requests{HERE,state=~"waiting|in flight"})',
        ((10_000, _YELLOW), (1_000_000, _RED)),
    ),
    _stat(
        "Failed, for a person",
        "Nothing becomes of these by itself: kochava-segment outbox list.",
        "sum by (queue) (kochava_segment_outbox_requests"
        '{HERE,state=~"rejected|exhausted|ambiguous"})',
        _ANY_IS_BAD,
    ),
    _stat(
        "Paused apps",
        "Their credentials were refused. Nothing of theirs is lost, nothing is sent.",
        "max by (queue) (kochava_segment_outbox_paused_apps{HERE})",
        _ANY_IS_BAD,
    ),
    _stat(
        "Relay",
        "Whether the relay runs, and the outbox lets it. Nothing here where another process sends.",
        "min by (queue) (kochava_segment_relay_alive{HERE})",
        (),
        words=(("0", "stopped", _RED), ("1", "runs", _GREEN)),
    ),
    _stat(
        "Outbox file",
        "Compare it with max_size, 4,096 MB by default.",
        "max by (queue) (kochava_segment_outbox_bytes{HERE})",
        ((3.2 * 2**30, _YELLOW), (3.8 * 2**30, _RED)),
        unit="bytes",
    ),
)
_FROM_SEGMENT = (
    Panel(
        title="Messages from Segment, by what became of them",
        says="queued is stored and on its way. invalid and unsupported are the sender's to mend: Segment "
        "shows the answers.",
        queries=(
            Query(
                "sum by (outcome) (rate(kochava_segment_received_total{HERE}[$__rate_interval]))",
                "{{outcome}}",
            ),
        ),
        unit="cps",
        stacked=True,
    ),
    Panel(
        title="Filtered, by reason",
        says="Not meant for Kochava: consent, integrations, screens. A sudden change is a change in the app.",
        queries=(
            Query(
                "sum by (reason) (rate(kochava_segment_received_total"
                '{HERE,outcome="filtered"}[$__rate_interval]))',
                "{{reason}}",
            ),
        ),
        unit="cps",
        stacked=True,
    ),
    Panel(
        title="Answers to Segment",
        says="401: a wrong secret. 503: the outbox takes nothing, Segment tries again for 4 hours.",
        queries=(
            Query(
                "sum by (endpoint, status) (rate(kochava_segment_http_requests_total"
                '{HERE,endpoint=~"segment|postback"}[$__rate_interval]))',
                "{{endpoint}} {{status}}",
            ),
        ),
        unit="reqps",
    ),
    Panel(
        title="Seconds until Segment is answered",
        says="Segment waits 5 s. It grows with the disk's load.",
        queries=_quantiles("kochava_segment_http_seconds", "endpoint", 0.5, 0.99),
        unit="s",
        width=12,
    ),
    Panel(
        title="Postbacks from Kochava",
        says="Installs that go back to Segment as Install Attributed.",
        queries=(
            Query(
                "sum by (outcome) (rate(kochava_segment_postbacks_total{HERE}[$__rate_interval]))",
                "{{outcome}}",
            ),
        ),
        unit="cps",
        width=12,
    ),
)
_TO_KOCHAVA = (
    Panel(
        title="Attempts, by Kochava's answer",
        says="none: no answer came. 401 and 403: credentials. 429: too fast. 5xx: Kochava's own trouble.",
        queries=(
            Query(
                "sum by (status) (rate(kochava_segment_attempts_total"
                '{HERE,app=~"$app"}[$__rate_interval]))',
                "{{status}}",
            ),
        ),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        title="Deliveries, by outcome",
        says="accepted is Kochava's word that it took a request, not that it counted it.",
        queries=(
            Query(
                "sum by (outcome) (rate(kochava_segment_deliveries_total"
                '{HERE,app=~"$app"}[$__rate_interval]))',
                "{{outcome}}",
            ),
        ),
        unit="cps",
        stacked=True,
    ),
    Panel(
        title="Share of attempts that are tried again",
        says="A few percent are usual. All of them: Kochava is away, and messages gather in the outbox.",
        queries=(
            Query(
                'sum by (app) (rate(kochava_segment_retries_total{HERE,app=~"$app"}[$__rate_interval]))'
                " / sum by (app) "
                '(rate(kochava_segment_attempts_total{HERE,app=~"$app"}[$__rate_interval]))',
                "{{app}}",
            ),
        ),
        unit="percentunit",
    ),
    Panel(
        title="Seconds until Kochava answers",
        says="Of each attempt, by action.",
        queries=_quantiles("kochava_segment_attempt_seconds", "action", 0.5, 0.99),
        unit="s",
    ),
    Panel(
        title="Seconds until a delivery has ended",
        says="From the first attempt, waits included.",
        queries=_quantiles("kochava_segment_delivery_seconds", "outcome", 0.5, 0.99),
        unit="s",
    ),
    Panel(
        title="Pace",
        says="What is sent, and the most that may be: after a 429 less. No limit shows nothing.",
        queries=(
            Query("sum(rate(kochava_segment_attempts_total{HERE}[$__rate_interval]))", "sent"),
            Query("min(kochava_segment_rate_limit{HERE}) < +Inf", "at most"),
        ),
        unit="reqps",
    ),
)
_OUTBOX = (
    Panel(
        title="Requests in the outbox, by state",
        says="waiting grows while Kochava is away. rejected, exhausted and ambiguous wait for a person.",
        queries=(
            Query(
                "sum by (queue, state) (kochava_segment_outbox_requests{HERE})",
                "{{queue}} {{state}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        title="Age of the oldest",
        says="A straight line upwards: nothing gets through.",
        queries=(
            Query("max by (queue) (kochava_segment_outbox_oldest_seconds{HERE})", "{{queue}}"),
        ),
        unit="s",
    ),
    Panel(
        title="Memory of the receiver",
        says="It does not grow with the outbox.",
        queries=(
            Query(
                "process_resident_memory_bytes{HERE} and on (instance) kochava_segment_rate_limit",
                "{{instance}}",
            ),
        ),
        unit="bytes",
    ),
)
ROWS: dict[str, tuple[Panel, ...]] = {
    "Now": _NOW,
    "From Segment": _FROM_SEGMENT,
    "To Kochava": _TO_KOCHAVA,
    "Outbox": _OUTBOX,
}


def dashboard() -> str:
    """The dashboard as Grafana imports it."""
    document = {
        "uid": "kochava-segment",
        "title": "kochava-segment",
        "description": "From Segment, through the outbox, to Kochava. What to do: docs/observability.md",
        "tags": ["kochava", "segment"],
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all panels
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "templating": {"list": list(_variables())},
        "annotations": {"list": [_alerts()]},
        "panels": list(_panels()),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _variables() -> Iterator[dict[str, Any]]:
    yield {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
    }
    for name, label, source in (
        ("instance", "Receiver", "kochava_segment_rate_limit"),
        ("app", "App", "kochava_segment_attempts_total"),
    ):
        query = f"label_values({source}, {name})"
        yield {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": _SOURCE,
            "definition": query,
            "query": {"query": query, "refId": f"variable-{name}"},
            "refresh": 2,  # whenever the time range changes
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        }


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": _RED,
        "expr": 'ALERTS{alertname=~"Kochava.*|Segment.*|Outbox.*",alertstate="firing"}',
        "titleFormat": "{{alertname}}",
    }


def _panels() -> Iterator[dict[str, Any]]:
    number = y = 0
    for title, panels in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1},
        }
        y, x = y + 1, 0
        height = 4 if panels[0].kind == "stat" else 8
        for panel in panels:
            if x + panel.width > _WIDTH:
                x, y = 0, y + height
            number += 1
            yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": height})
            x += panel.width
        y += height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    is_stat = panel.kind == "stat"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.expression.replace("HERE", _HERE),
                "legendFormat": query.legend,
                "instant": is_stat,
                "range": not is_stat,
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _STAT_OPTIONS if is_stat else _COURSE_OPTIONS,
    }


_STAT_OPTIONS = {
    "colorMode": "background",
    "graphMode": "none",
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "textMode": "auto",
}
_COURSE_OPTIONS = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"color": _GREEN, "value": None},
                *({"color": color, "value": value} for value, color in panel.steps),
            ],
        },
        "mappings": [],
    }
    if panel.words:
        options = {
            value: {"text": text, "color": color, "index": index}
            for index, (value, text, color) in enumerate(panel.words)
        }
        defaults["mappings"] = [{"type": "value", "options": options}]
    if panel.stacked:
        stacking = {"mode": "normal", "group": "A"}
        defaults["custom"] = {"fillOpacity": 30, "stacking": stacking}
    return defaults
