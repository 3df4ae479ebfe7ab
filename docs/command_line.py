"""The reference of the command line, from click's own description of it, for `generate.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from kochava_segment.cli import cli

_PROGRAM = "kochava-segment"
_NOTE = re.compile(r"(?P<text>.*?)\s*\[(?P<note>[^\[\]]*)\]", re.DOTALL)
_ENVIRONMENT = re.compile(r"env(?: var)?: (\w+)")
_FLAG = re.compile(r"(?<![`\w-])--[a-z][a-z-]*\b(?:=\w+)?")
_PAGE = re.compile(r"\bdocs/([\w-]+)\.md\b")
_EXIT_CODES = re.compile(r"Exit code: 0 if (?P<good>[^;]*?)(?:; 1 if (?P<bad>.*?))?\.$")
_LIMITS = (
    (re.compile(r"([\d.]+)<=x<=([\d.]+)"), r"\1 to \2"),
    (re.compile(r"x>=([\d.]+)"), r"\1 or more"),
    (re.compile(r"x>([\d.]+)"), r"more than \1"),
)


def commands() -> str:
    """All commands in a table, each with what it is for."""
    rows = ["| Command | What it does |", "| --- | --- |"]
    for name, command in _commands(cli, click.Context(cli, info_name=_PROGRAM)):
        rows.append(
            f"| [`{name}`](#{name.replace(' ', '-')}) | {command.get_short_help_str(200)} |"
        )
    return "\n".join(rows)


def exit_codes() -> str:
    """What each command's page says of its exit codes; one that says nothing stops this script."""
    rows = ["| Command | 0 | 1 |", "| --- | --- | --- |"]
    for name, command in _commands(cli, click.Context(cli)):
        if " " in name:  # those of a group share what its page says
            continue
        found = _EXIT_CODES.search(" ".join((command.help or "").split()))
        if found is None:
            raise LookupError(f"{name} does not say when it ends with which exit code")
        rows.append(
            f"| [`{name}`](#{name}) | {_marked(found['good'])} | {_marked(found['bad'] or 'never')} |"
        )
    return "\n".join(rows)


def details() -> str:
    """A section for each command: its help page, with a table of its options."""
    context = click.Context(cli, info_name=_PROGRAM)
    return "\n\n".join(_section(name, command) for name, command in _commands(cli, context))


def _commands(
    group: click.Group, context: click.Context, prefix: str = ""
) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from _commands(command, context, f"{prefix}{name} ")


def _section(name: str, command: click.Command) -> str:
    # With the group's settings: a command keeps the names of --help that it is asked for first.
    context = click.Context(command, info_name=f"{_PROGRAM} {name}", **cli.context_settings)
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"## {name}", f"```text\n{' '.join(usage.split())}\n```", *_paragraphs(command.help)]
    options = [
        option
        for option in command.get_params(context)
        if isinstance(option, click.Option) and not option.hidden and "--help" not in option.opts
    ]
    # Those of the destination have a table of their own.
    own = [option for option in options if not _is_of_destination(option)]
    if own:
        rows = [_row(option, context) for option in own]
        head = [
            "| Option, environment variable | Default, limits | Meaning |",
            "| --- | --- | --- |",
        ]
        parts.append("\n".join([*head, *rows]))
    if len(own) < len(options):
        parts.append("It takes `--config FILE` and the [options of a destination](options.md) too.")
    return "\n\n".join(parts)


def _is_of_destination(option: click.Option) -> bool:
    return type(option).__name__ == "_DestinationOption"


def _paragraphs(text: str | None) -> Iterator[str]:
    """The text of a help page; what click is told not to wrap is set as it stands."""
    for paragraph in inspect.cleandoc(text or "").partition("\f")[0].split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield f"```text\n{paragraph[2:]}\n```"
        else:
            yield _marked(" ".join(paragraph.split()))


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None  # noqa: S101  # hidden ones were left out
    declaration, text = record
    environment = ""
    notes: list[str] = []
    while found := _NOTE.fullmatch(text):
        text = found["text"]
        for note in reversed(found["note"].split("; ")):
            variable = _ENVIRONMENT.fullmatch(note)
            if variable:
                environment = f"<br>`{variable[1]}`"
            else:
                notes.insert(0, _readable(note.removeprefix("default: ")))
    cells = (f"`{declaration}`{environment}", "; ".join(notes), _marked(text))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _readable(note: str) -> str:
    for pattern, words in _LIMITS:
        note = pattern.sub(words, note)
    return note


def _marked(text: str) -> str:
    """A text in which options are code, in case somebody's renderer makes dashes of them."""
    parts = text.split("`")
    parts[::2] = [_FLAG.sub(r"`\g<0>`", part) for part in parts[::2]]
    return _PAGE.sub(r"[\g<0>](\1.md)", "`".join(parts))
