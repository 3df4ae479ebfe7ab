"""The command line: one module a command."""

from __future__ import annotations

import click

from kochava_segment.cli.demo import demo
from kochava_segment.cli.doctor import doctor
from kochava_segment.cli.emulator import emulator
from kochava_segment.cli.explain import explain
from kochava_segment.cli.forget import forget
from kochava_segment.cli.map import map_command
from kochava_segment.cli.outbox import outbox
from kochava_segment.cli.relay import relay
from kochava_segment.cli.send import send
from kochava_segment.cli.serve import serve

_HELP = """Send Segment events to Kochava.

New here? `kochava-segment demo` shows everything at once, without an account.
Then:

\b
  kochava-segment map events.jsonl      what would be sent; nothing leaves
  kochava-segment explain event.json    where each field of it comes from
  kochava-segment send events.jsonl     send it
  kochava-segment doctor                why it does not work

Options come from the command line, from KOCHAVA_SEGMENT_* environment variables
and from a TOML file (--config); the first of these wins. Give them after the
command: `kochava-segment send --app-guid YOUR_APP_GUID events.jsonl`.
"""


class _InOrder(click.Group):
    """Lists commands in the order in which a newcomer needs them."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="kochava-segment")
def cli() -> None:
    """Send Segment events to Kochava."""


for command in (demo, map_command, explain, send, serve, relay, outbox, forget, emulator, doctor):
    cli.add_command(command)
