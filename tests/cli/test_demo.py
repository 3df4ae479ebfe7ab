"""`demo`, as a process."""

import json

import pytest

from tests.cli.process import environment, run


def test_it_explains_every_message():
    result = run("demo")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    for count, outcome in ((7, "accepted"), (3, "filtered"), (1, "unsupported"), (1, "invalid")):
        assert f"  {count:>2} {outcome:<12} " in result.stdout
    for name in ("no-consent (filtered)", "screen (filtered)", "from-kochava (filtered)",
                 "group (unsupported)", "broken (invalid)"):  # fmt: skip
        assert f"\n  {name}\n    " in result.stdout
    assert "Errors found: 0." in result.stdout


def test_it_shows_a_purchase_in_full_without_secrets():
    out = run("demo").stdout
    shown = out.partition("The request of purchase in full:")[2]
    payload, _ = json.JSONDecoder().raw_decode(shown[shown.index("{") :])
    assert payload["data"]["event_name"] == "Purchase"
    assert payload["data"]["event_data"]["price"] == 249.5
    assert "Kochava-Api-Key: ***" in shown
    assert "demo-secret" not in out


def test_options_change_it():
    out = run(
        "demo",
        "--screens",
        "view",
        "--app-guid",
        "koyours",
        "--event-names",
        "Lift Pass Scanned=Lift",
    ).stdout
    assert "  8 accepted" in out
    assert '"kochava_app_id": "koyours"' in out
    assert "event Lift " in out
    assert "SCREENS_OFF" not in out


def test_it_needs_no_purchase_to_show_a_request():
    out = run("demo", "--required-consent", "Nonexistent").stdout
    assert "The request of install-android in full:" in out
    assert "Errors found: 1." in out  # an event whose install was filtered


@pytest.mark.parametrize("columns", ["40", "120"])
def test_its_table_fits_the_terminal(columns):
    out = run("demo", env=environment(COLUMNS=columns)).stdout
    table = out.partition("\nThe request of")[0]
    assert max(map(len, table.splitlines())) <= int(columns)
    assert "accepted" in table


def test_an_old_terminal_gets_ascii():
    result = run("demo", env=environment(PYTHONIOENCODING="ascii"))
    assert result.returncode == 0
    assert result.stdout.isascii()


def test_it_takes_no_account_of_credentials_in_the_environment():
    result = run(
        "demo",
        env=environment(
            KOCHAVA_SEGMENT_API_KEY="REAL", KOCHAVA_SEGMENT_API_SECRET="real",
            KOCHAVA_SEGMENT_ENDPOINT="https://kochava.invalid",
        ),
    )  # fmt: skip
    assert result.returncode == 0
    assert "7 accepted" in result.stdout
