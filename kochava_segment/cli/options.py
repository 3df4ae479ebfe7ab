"""The options of `KochavaDestination` as options of a command, made from the same table."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import attrs
import click

from kochava_segment.delivery.retry import RetryPolicy
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError
from kochava_segment.option_kinds import FLAG, Kind
from kochava_segment.options import EMPTY, ENVIRONMENT_PREFIX, Options, PostbackFields

_CONFIG_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"

_OWN, _COMMON = "Options", "Destination"
_COMMON_NAMES = ("app_guid", "app_guids", "endpoint", "api_key", "api_secret")
# In Options, the fields of a subject stand together: the first of each.
_FIRST_OF = {"require_device_id": "Mapping", "timeout": "Delivery", "outbox": "Outbox"}

# What a mapping may have for keys, where the description does not say.
_KEYS = {
    "retry": RetryPolicy,
    "postback_fields": PostbackFields,
}


class SectionedCommand(click.Command):
    """A command whose help page has its own options first, and the destination's by subject."""

    sections: ClassVar[tuple[str, ...]] = (_OWN, _COMMON, *_FIRST_OF.values())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of options that there are."""
        records_of: dict[str, list[tuple[str, str]]] = {name: [] for name in self.sections}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                records_of[getattr(parameter, "section", _OWN)].append(record)
        for name, records in records_of.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


class VariableOption(click.Option):
    """An option whose variable, if it is set, must say something."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """What the variable says; None where it is not set."""
        variable = str(self.envvar)
        if self.envvar is not None and not os.environ.get(variable, "unset").strip():
            raise click.UsageError(f"{self.opts[0]} {EMPTY} (from {variable})", ctx)
        return super().resolve_envvar_value(ctx)


class _DestinationOption(VariableOption):
    """An option that goes to the destination, and the section of the help page that it is in."""

    def __init__(self, *declarations: Any, section: str, **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.section = section


def destination_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all options of a destination.

    The command is called with `load`, a function that takes keywords, which win over everything,
    and gives the KochavaDestination; and with whatever options of its own it has.
    """

    @functools.wraps(command)
    def with_destination(config: Path | None, **values: Any) -> Any:
        given = {name: values.pop(name) for name in _NAMES}

        def load(**overrides: Any) -> KochavaDestination:
            keywords = {**given, **overrides}
            try:
                if config is not None:
                    return KochavaDestination.from_config(config, **keywords)
                return KochavaDestination.from_env(**keywords)
            except ConfigurationError as error:
                raise click.UsageError(as_lines(error)) from None

        return command(load=load, **values)

    for field in reversed(_FIELDS):
        with_destination = _click_option(field)(with_destination)
    return click.option(
        "--config",
        cls=_DestinationOption,
        section=_COMMON,
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar=_CONFIG_VARIABLE,
        help=f"A TOML file of options, their names as below but with underscores. "
        f"[env: {_CONFIG_VARIABLE}]",
    )(with_destination)


def as_lines(error: ConfigurationError) -> str:
    """What is wrong with options, each called as on the command line."""
    problems = [
        f"--{problem.path.replace('_', '-')} {problem.detail}" for problem in error.problems
    ]
    return problems[0] if len(problems) == 1 else "\n  ".join(["", *problems])


class MissingExtra(click.ClickException):
    """What a command needs is not installed. It is told as wrong usage is: nothing was begun."""

    exit_code = 2


def _click_option(field: attrs.Attribute[Any]) -> Callable[..., Any]:
    kind: Kind = field.metadata["kind"]
    flag = field.name.replace("_", "-")
    if kind is FLAG:
        declared: dict[str, Any] = {"param_decls": (f"--{flag}/--no-{flag}", field.name)}
    else:
        declared = {
            "param_decls": (f"--{flag}", field.name),
            # In ASCII: a help page is the last thing that may fail on an old terminal.
            "metavar": kind.written.replace("…", "..."),
            "callback": functools.partial(_parse, kind),
        }
    return click.option(
        *declared.pop("param_decls"),
        cls=_DestinationOption,
        section=_SECTIONS[field.name],
        default=None,
        help=_help(field),
        **declared,
    )


def _help(field: attrs.Attribute[Any]) -> str:
    sentences = [field.metadata["description"]]
    if field.name in _KEYS:
        keys = ", ".join(key.name for key in attrs.fields(_KEYS[field.name]))
        sentences.append(f"Fields: {keys}.")
    notes = [f"env: {ENVIRONMENT_PREFIX}{field.name.upper()}"]
    default = _shown_default(field.default)
    if default:
        notes.insert(0, f"default: {default}")
    return f"{' '.join(sentences)} [{'; '.join(notes)}]"


def _shown_default(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, (int, float)):
        return str(int(default)) if default == int(default) else str(default)
    if isinstance(default, tuple) and default and isinstance(default[0], float):
        return ",".join(f"{number:g}" for number in default)
    return default if isinstance(default, str) else ""


def _parse(kind: Kind, context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    if text is None or kind.parse is None:
        return None
    try:
        return kind.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


_FIELDS = [field for field in attrs.fields(Options) if field.metadata["kind"].parse is not None]
_NAMES = [field.name for field in _FIELDS]


def _sections() -> dict[str, str]:
    """The section of each option."""
    sections, section = {}, _COMMON
    for name in _NAMES:
        section = _FIRST_OF.get(name, section)
        sections[name] = _COMMON if name in _COMMON_NAMES else section
    return sections


_SECTIONS = _sections()
