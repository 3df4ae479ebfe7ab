"""The command line: one module a command."""

from __future__ import annotations

import click

from kochava_segment.cli.demo import demo
from kochava_segment.cli.doctor import doctor
from kochava_segment.cli.emulator import emulator
from kochava_segment.cli.explain import explain
from kochava_segment.cli.map import map_command
from kochava_segment.cli.send import send


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kochava-segment")
def cli() -> None:
    r"""Send Segment events to Kochava.

    New here? `kochava-segment demo` shows everything at once, without an account. Then:

    \b
      kochava-segment map events.jsonl       what would be sent, nothing leaves
      kochava-segment explain event.json     where each field of it comes from
      kochava-segment send events.jsonl      send it
      kochava-segment doctor                 why it does not work

    Options come from the command line, from KOCHAVA_SEGMENT_* environment variables and from a
    TOML file (--config); the first one wins.
    """


for command in (demo, map_command, explain, send, emulator, doctor):
    cli.add_command(command)
