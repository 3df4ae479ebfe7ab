"""The dashboard and the alert rules ask for what there is, and say what they are to say."""

import importlib.util
import itertools
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from kochava_segment.delivery.outbox_inspection import STATES
from kochava_segment.emulator import Faults, KochavaEmulator
from kochava_segment.outcome import OutcomeKind
from kochava_segment.server import running
from tests.messages import ios
from tests.server.process import serving

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RULES = DOCS / "alert-rules.yml"
COURSES = Path(__file__).with_name("alert-rules-test.yml")
DASHBOARD = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
GIVEN_BY_PROMETHEUS = {"instance", "job"}

with_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool comes with Prometheus"
)


def exported():
    """All metrics that there are, with their labels, from the table that the code makes."""
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", page, re.MULTILINE)
    found = {}
    for name, kind, listed in rows:
        labels = set(re.findall(r"\w+", listed))
        if kind == "histogram":
            parts = {"_bucket": labels | {"le"}, "_sum": labels, "_count": labels}
        else:
            parts = {"": labels}
        for suffix, of in parts.items():
            found[f"kochava_segment_{name}{suffix}"] = of
    assert len(found) > 15
    for family in running.prometheus_hook().registry.collect():
        if family.name.startswith("process_"):
            found[family.name] = set()
    return found


EXPORTED = exported()


def rule_expressions():
    text = RULES.read_text(encoding="utf-8")
    rules = re.findall(r"- alert: (\w+)\n +expr: (?:>\n)?(.+?)\n +(?:for|labels):", text, re.DOTALL)
    assert len(rules) == text.count("alert: ")
    return rules


EXPRESSIONS = [
    *rule_expressions(),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_expression_asks_for_metrics_and_labels_that_there_are(where, expression):
    names = re.findall(r"\b(?:kochava_segment|process)_\w+", expression)
    assert names, where
    unknown = [name for name in names if name not in EXPORTED]
    assert unknown == []
    together = set().union(*(EXPORTED[name] for name in names)) | GIVEN_BY_PROMETHEUS
    for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector))
        assert labels <= EXPORTED[name] | GIVEN_BY_PROMETHEUS, name
    for words in re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", expression):
        assert {word.strip() for word in words.split(",")} <= together, words


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_value_that_is_asked_for_is_one_that_there_is(where, expression):
    known = {
        "state": set(STATES),
        "outcome": {kind.value for kind in OutcomeKind},
        "endpoint": {"segment", "postback"},
        "status": {"401", "503"},
    }
    for label, values in re.findall(r'(\w+)=~?"([^"$]+)"', expression):
        assert set(values.split("|")) <= known[label], where


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_legend_names_labels_that_its_series_have(panel):
    for target in panel["targets"]:
        grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
        kept = {word.strip() for words in grouped for word in words.split(",")}
        kept |= set() if grouped else GIVEN_BY_PROMETHEUS
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept


def test_every_metric_is_on_a_panel():
    asked = " ".join(expression for _, expression in EXPRESSIONS)
    missing = [
        name
        for name in EXPORTED
        if name.startswith("kochava_segment_")
        and not name.endswith(("_sum", "_count"))
        and name not in asked
    ]
    assert missing == []


def test_the_dashboard_is_what_its_script_writes():
    spec = importlib.util.spec_from_file_location("dashboard", DOCS / "dashboard.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["dashboard"] = module  # where attrs looks for it
    spec.loader.exec_module(module)
    text = (DOCS / "grafana-dashboard.json").read_text(encoding="utf-8")
    stale = module.dashboard() != text
    assert not stale, "run python docs/generate.py"


def test_the_dashboard_is_of_a_form_that_grafana_takes():
    assert isinstance(DASHBOARD["schemaVersion"], int)
    assert "id" not in DASHBOARD, "Grafana gives numbers; the uid is ours"
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in PANELS:
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["title"]
        assert panel["description"]
        assert [target["refId"] for target in panel["targets"]] == ["A", "B"][
            : len(panel["targets"])
        ]
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        values = [step["value"] for step in steps]
        assert values[0] is None
        assert values[1:] == sorted(values[1:])
    builtin = {"__rate_interval"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([PANELS, DASHBOARD["annotations"]])))
    assert used - builtin <= set(variables)


def test_panels_lie_side_by_side():
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert {x for x, _ in cells} == set(range(24))


def test_every_alert_has_a_course_that_it_fires_in():
    text = COURSES.read_text(encoding="utf-8")
    missing = [name for name, _ in rule_expressions() if f'alertname="{name}"' not in text]
    assert missing == []


def promtool(*arguments):
    return subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def judged(tmp_path, rules):
    """What promtool says to rules in the courses of events."""
    (tmp_path / "rules.yml").write_text(rules)
    courses = tmp_path / "courses.yml"
    courses.write_text(COURSES.read_text().replace("{{rules}}", str(tmp_path / "rules.yml")))
    return promtool("test", "rules", courses)


@with_promtool
def test_the_rules_fire_when_they_should_and_not_otherwise(tmp_path):
    assert promtool("check", "rules", RULES).returncode == 0
    done = judged(tmp_path, RULES.read_text())
    assert done.returncode == 0, done.stdout + done.stderr


@with_promtool
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("paused_apps > 0", "paused_apps > 1"),
        ("oldest_seconds > 900", "oldest_seconds > 90000"),
        ("> 0.2\n", "> 2\n"),
        ("> 0.01\n", "> 0.001\n"),
        ("0.8 * 4096", "0.8 * 8192"),
        ("for: 10m\n        labels: { severity: critical }", "for: 70m\n        labels: {}"),
        ('status="401"', 'status="403"'),
    ],
)
def test_a_wrong_rule_is_noticed(tmp_path, right, wrong):
    text = RULES.read_text()
    assert text.count(right) == 1
    assert judged(tmp_path, text.replace(right, wrong)).returncode != 0


# With a real Prometheus.


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def prometheus(tmp_path):
    """Starts a Prometheus that scrapes a port each second; gives what asks it."""
    if shutil.which("prometheus") is None:
        pytest.skip("there is no Prometheus")
    processes = []

    def start(scraped):
        config = tmp_path / "prometheus.yml"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(RULES)],
                    "scrape_configs": [
                        {
                            "job_name": "kochava-segment",
                            "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}],
                        }
                    ],
                }
            )
        )
        port = free_port()
        processes.append(
            subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

        def ask(path, **parameters):
            url = f"http://127.0.0.1:{port}/api/v1/{path}"
            with requests.get(url, parameters, timeout=10) as answer:
                document = answer.json()
            assert document["status"] == "success", document
            return document["data"]

        return ask

    yield start
    for process in processes:
        process.terminate()
        process.wait(20)


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.2)


@pytest.mark.slow
def test_every_panel_shows_something_of_a_receiver_at_work(tmp_path, prometheus):
    """Through a real Prometheus: messages of all kinds, a Kochava that falters, a wrong signature."""
    numbers = itertools.count()
    with KochavaEmulator(faults=Faults(error_rate=0.3, seed=1)) as kochava:
        options = ("--endpoint", kochava.url, "--postback-secret", "s3cret")
        tracking = ("--segment-write-key", "key", "--segment-host", kochava.url, "--max-rate", "50")
        with serving(tmp_path / "outbox", *options, *tracking, relay=True) as server:
            ask = prometheus(server.port)

            def query(expression):
                return ask("query", query=expression)["result"]

            def traffic():
                for more in ({}, {"integrations": {"Kochava": False}}, {"event": ""}):
                    server.post(ios(messageId=f"m-{next(numbers)}", **more))
                server.request("POST", "/segment", b"{}", {"Content-Type": "application/json"})
                device = f"kochava_device_id=d-{next(numbers)}&event_name=_install"
                server.request("GET", f"/kochava/postback/s3cret?{device}")
                return query('sum(kochava_segment_deliveries_total{outcome="accepted"}) > 20')

            wait_until(traffic)
            time.sleep(3)  # two more scrapes
            silent = {
                (panel["title"], target["refId"])
                for panel in PANELS
                for target in panel["targets"]
                if not query(filled_in(target["expr"]))
            }
            (group,) = ask("rules")["groups"]
    assert silent == set()
    assert len(group["rules"]) == len(rule_expressions())
    assert [
        (rule["name"], rule["lastError"]) for rule in group["rules"] if rule["health"] != "ok"
    ] == []


def filled_in(expression):
    """An expression as Grafana asks it, with all instances and apps."""
    for variable, value in {"$__rate_interval": "1m", "$instance": ".*", "$app": ".*"}.items():
        expression = expression.replace(variable, value)
    return expression
