"""The options of `KochavaDestination` as options of a command, made from the same table."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click

from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError
from kochava_segment.option_kinds import FLAG, Kind
from kochava_segment.options import ENVIRONMENT_PREFIX, Options

_CONFIG_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"


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
                raise click.UsageError(_as_lines(error)) from None

        return command(load=load, **values)

    for field in reversed(_FIELDS):
        with_destination = _click_option(field)(with_destination)
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        default=lambda: os.environ.get(_CONFIG_VARIABLE) or None,
        help=f"A TOML file of options. [env: {_CONFIG_VARIABLE}]",
    )(with_destination)


def _as_lines(error: ConfigurationError) -> str:
    problems = [
        f"--{problem.path.replace('_', '-')} {problem.detail}" for problem in error.problems
    ]
    return problems[0] if len(problems) == 1 else "\n  ".join(["", *problems])


def _click_option(field: attrs.Attribute[Any]) -> Callable[..., Any]:
    kind: Kind = field.metadata["kind"]
    flag = field.name.replace("_", "-")
    help_text = f"{field.metadata['description']} [env: {ENVIRONMENT_PREFIX}{field.name.upper()}]"
    if kind is FLAG:
        return click.option(f"--{flag}/--no-{flag}", field.name, default=None, help=help_text)
    return click.option(
        f"--{flag}",
        field.name,
        metavar=kind.written,
        default=None,
        callback=functools.partial(_parse, kind),
        help=help_text,
    )


def _parse(kind: Kind, context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    if text is None or kind.parse is None:
        return None
    try:
        return kind.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


_FIELDS = [field for field in attrs.fields(Options) if field.metadata["kind"].parse is not None]
_NAMES = [field.name for field in _FIELDS]
