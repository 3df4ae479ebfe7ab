"""`map` and `explain`, as processes, on good input; bad input is in test_bad_input.py."""

import gzip
import json

from tests.cli.process import environment, run
from tests.messages import IDFA, ios

APP = ("--app-guid", "koapp")


def mapped(*arguments, stdin="", code=0, **options):
    result = run("map", *arguments, stdin=stdin, **options)
    assert result.returncode == code, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_line_has_everything_about_its_message():
    [line] = mapped(*APP, stdin=json.dumps(ios(context__ip="x")))
    assert line.keys() == {
        "line", "messageId", "outcome", "request", "warnings", "reason", "problems",
    }  # fmt: skip
    assert (line["line"], line["messageId"], line["outcome"]) == (1, "m-1", "mapped")
    assert line["request"]["url"] == "https://control.kochava.com/track/json"
    assert line["request"]["body"]["data"]["event_name"] == "Level Up"
    assert [warning["code"] for warning in line["warnings"]] == ["bad-ip"]
    assert (line["reason"], line["problems"]) == (None, [])


def test_other_outcomes_have_their_reason():
    messages = [ios(type="screen"), ios(type="group"), ios(event="")]
    lines = mapped(*APP, stdin="\n".join(map(json.dumps, messages)), code=1)
    assert [line["outcome"] for line in lines] == ["filtered", "unsupported", "invalid"]
    assert lines[0]["reason"] == "SCREENS_OFF"
    assert "group" in lines[1]["reason"]
    assert lines[2]["problems"][0]["path"] == "event"
    assert all(line["request"] is None for line in lines)


def test_without_an_app_guid_every_message_says_so():
    [line] = mapped(stdin=json.dumps(ios()), code=1)
    assert line["outcome"] == "invalid"
    assert line["problems"][0]["path"] == "app_guid"


def test_secrets_are_hidden():
    secrets = ("--api-key", "KEY-4711", "--api-secret", "hush-4711")
    result = run("map", *APP, *secrets, stdin=json.dumps(ios()))
    headers = json.loads(result.stdout)["request"]["headers"]
    assert headers["Kochava-Api-Key"] == headers["Kochava-Auth-Token"] == "***"
    assert "4711" not in result.stdout + result.stderr


def test_files_are_read_in_order_and_named(tmp_path):
    lines, array, packed = (tmp_path / name for name in ("a.jsonl", "b.json", "c.jsonl.gz"))
    lines.write_text(json.dumps(ios(messageId="1")) + "\n")
    array.write_text(json.dumps([ios(messageId="2"), ios(messageId="3")], indent=2))
    packed.write_bytes(gzip.compress(json.dumps(ios(messageId="4")).encode()))
    found = mapped(*APP, lines, array, "-", packed, stdin=json.dumps(ios(messageId="stdin")))
    assert [line["messageId"] for line in found] == ["1", "2", "3", "stdin", "4"]
    assert [line["file"] for line in found] == [
        str(lines), str(array), str(array), None, str(packed),
    ]  # fmt: skip
    assert "file" not in mapped(*APP, lines)[0]


def test_options_come_from_the_command_line_then_the_environment_then_the_file(tmp_path):
    config = tmp_path / "kochava.toml"
    config.write_text('app_guid = "kofile"\nscreens = "view"\nnested = "drop"\n')
    variables = environment(
        KOCHAVA_SEGMENT_CONFIG=str(config),
        KOCHAVA_SEGMENT_APP_GUID="koenv",
        KOCHAVA_SEGMENT_SCREENS="named",
    )
    screen = json.dumps(ios(type="screen", name="Map", properties={"a": {"b": 1}}))
    [line] = mapped("--app-guid", "koline", stdin=screen, env=variables)
    assert line["request"]["body"]["kochava_app_id"] == "koline"
    assert line["request"]["body"]["data"]["event_name"] == "screen view Map"
    assert "a" not in line["request"]["body"]["data"]["event_data"]


def test_explain_names_the_source_of_each_field(tmp_path):
    file = tmp_path / "event.json"
    file.write_text(json.dumps(ios(), indent=2))
    result = run("explain", *APP, file)
    assert result.returncode == 0
    for path in ("context.device.advertisingId", "context.ip", "timestamp", "data.event_name"):
        assert path in result.stdout
    assert IDFA in result.stdout
    assert "\x1b" not in result.stdout


def test_explain_says_why_there_is_no_request():
    for stdin, reason in (
        ("{", "is not valid JSON"),
        (json.dumps(ios(type="screen")), "SCREENS_OFF"),
    ):
        result = run("explain", *APP, stdin="\n" + stdin)
        assert result.returncode == 1
        assert result.stdout.startswith("Line 2 gives no request.\n  ")
        assert reason in result.stdout
    assert "app_guid" in run("explain", stdin=json.dumps(ios())).stdout


def test_nothing_to_explain_is_wrong_usage():
    result = run("explain", *APP)
    assert result.returncode == 2
    assert "there is no message to explain" in result.stderr
