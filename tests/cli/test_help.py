"""What the command line says of itself."""

import re
import subprocess
import sys

import attrs
import pytest
from click import Context
from click.testing import CliRunner

from kochava_segment.cli import cli
from kochava_segment.options import Options
from tests.cli.process import run, runner

COMMANDS = (
    "demo",
    "map",
    "explain",
    "send",
    "relay",
    "outbox",
    "forget",
    "serve",
    "replay",
    "emulator",
    "doctor",
)


def shown(*arguments, columns="80"):
    """What a command says, in this process: help pages are many, and starting takes its time."""
    result = CliRunner(env={"COLUMNS": columns}).invoke(cli, arguments, prog_name="kochava-segment")
    assert result.exit_code in {0, 2}
    return result.output


def test_no_arguments_and_help_teach_where_to_begin():
    for result in (run(), run("--help"), run("-h")):
        text = result.stdout + result.stderr
        commands = text.partition("Commands:")[2]
        assert "New here? `kochava-segment demo`" in text
        assert (
            "    kochava-segment map events.jsonl      what would be sent; nothing leaves\n" in text
        )
        listed = re.findall(r"^  ([\w-]+) ", commands, re.MULTILINE)
        assert listed[:4] == ["demo", "map", "explain", "send"]
        assert set(listed) >= set(COMMANDS)
        assert "..." not in commands, "no description is cut off"


def test_each_command_is_loaded_when_it_is_run_and_says_of_itself_what_the_list_does():
    context = Context(cli)
    listed = dict(
        re.findall(
            r"^  ([\w-]+) +(.+)", shown(columns="200").partition("Commands:")[2], re.MULTILINE
        )
    )
    assert list(listed) == cli.list_commands(context)
    for name, short in listed.items():
        assert cli.get_command(context, name).get_short_help_str(200) == short
    assert cli.get_command(context, "no-such-command") is None


def test_the_list_of_commands_loads_no_command():
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"  # where coverage is measured, it has sqlite3 already
        "from kochava_segment.cli import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "heavy = {'requests', 'rich', 'attr', 'sqlite3', 'aiohttp'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "outbox"])
def test_each_command_lists_every_option_with_its_variable(command):
    page = shown(command, "--help")
    words = " ".join(page.split())
    for field in attrs.fields(Options):
        if field.metadata["kind"].parse is not None:
            assert f"--{field.name.replace('_', '-')}" in words
            assert f"KOCHAVA_SEGMENT_{field.name.upper()}" in words
    assert "--config FILE" in words
    places = [
        page.index(f"\n{name}:\n")
        for name in ("Options", "Destination", "Mapping", "Delivery", "Outbox")
    ]
    assert places == sorted(places)
    assert page.index("-h, --help") < places[1]


@pytest.mark.parametrize("command", [*COMMANDS, None])
@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_help_is_plain_ascii_and_fits_the_terminal(command, columns):
    page = shown(*filter(None, [command]), "--help", columns=columns)
    assert page.isascii()
    assert "\x1b" not in page
    if columns != "40":  # names of variables are longer than what is left there
        assert max(map(len, page.splitlines())) <= int(columns)


def test_the_version_is_the_packages():
    from importlib.metadata import version

    assert version("kochava-segment") in run("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sned",), "No such command 'sned'"),  # new versions of click also say what it could be
        (("map", "--app-gid", "x"), "--app-guid"),
        (("map", "--screens", "maybe"), "--screens must be one of off, view, named"),
        (("send", "--api-key", "x"), "--api-secret is missing: api_key and api_secret go together"),
        (("map", "--endpoint", "http://example.com"), "plain http is for loopback addresses only"),
        (("map", "--retry", "tries=3"), "is not a field of a retry policy; there are max_attempts"),
        (("map", "--timeout", "soon"), "must be a number"),
        (("emulator", "--error-rate", "2"), "2.0 is not in the range 0<=x<=1"),
        (
            ("emulator", "--error-rate", "0.6", "--trickle", "0.6"),
            "--error-rate and the other rates",
        ),
        (("emulator", "--port", "70000"), "70000 is not in the range"),
    ],
)
def test_wrong_usage_is_explained_in_the_words_of_the_command_line(arguments, said):
    result = runner().invoke(cli, arguments, prog_name="kochava-segment")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_all_that_is_wrong_with_options_is_said_at_once():
    result = run("map", "--screens", "maybe", "--endpoint", "ftp://x", "--api-key", "hush-hush")
    for option in ("--screens", "--endpoint", "--api-secret"):
        assert f"\n  {option} " in result.stderr
    assert "hush-hush" not in result.stderr


def test_without_the_extra_it_says_what_to_install():
    hidden = (
        "import sys; sys.modules['click'] = None; from kochava_segment.__main__ import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", hidden], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert result.stderr == (
        "The command line needs an extra: pip install 'kochava-segment[cli]'\n"
    )
