"""The command line: one module a command."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

if find_spec("rich") is None:  # commands load it when they draw; to find out then would be late
    raise ModuleNotFoundError("No module named 'rich'", name="rich")

_HELP = """Send Segment events to Kochava.

New here? `kochava-segment demo` shows everything at once, without an account.
Then:

\b
  kochava-segment map events.jsonl      what would be sent; nothing leaves
  kochava-segment explain event.json    where each field of it comes from
  kochava-segment send events.jsonl     send it
  kochava-segment why CODE              what a warning or an outcome means
  kochava-segment doctor                why it does not work

Options come from the command line, from KOCHAVA_SEGMENT_* environment variables
and from a TOML file (--config); the first of these wins. Give them after the
command: `kochava-segment send --app-guid YOUR_APP_GUID events.jsonl`.

Exit code: 0 if all went well; 1 if something did not, of which each command's
page says more; 2 if the command line or the configuration is wrong, or an extra
is missing.
"""


# In the order in which a newcomer needs them, with what their own pages say in short: a module is
# loaded when its command is run, so that no command waits for what the others need.
_COMMANDS = {
    "demo": ("demo", "See it all happen on this machine. Start here."),
    "map": ("map_command", "Show what messages become. Nothing is sent."),
    "explain": ("explain", "Explain each field of the request of one message."),
    "send": ("send", "Send messages and say what became of each."),
    "replay": ("replay", "Send an archive of any size, with Apache Beam."),
    "serve": ("serve", "Receive messages from Segment over HTTP."),
    "relay": ("relay", "Send what an outbox holds, until Ctrl-C or SIGTERM."),
    "outbox": ("outbox", "Look into an outbox, try again, give up, tidy up."),
    "forget": ("forget", "Forget a user, by their userId."),
    "emulator": ("emulator", "Run a local Kochava that checks what it is sent."),
    "why": ("why", "Say what a warning, reason or outcome means, and what to do."),
    "doctor": ("doctor", "Find out why it does not work. Nothing is sent unasked."),
}


class _Commands(click.Group):
    """Loads a command when it is asked for."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"{__name__}.{name}"), _COMMANDS[name][0])
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in _COMMANDS.items()])


@click.group(
    cls=_Commands,
    # click looks at these names where it guesses what was meant.
    commands={name: click.Command(name) for name in _COMMANDS},
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="kochava-segment")
def cli() -> None:
    """Send Segment events to Kochava."""
