"""Where the commands that run for long write their log: to standard error, as text or as JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from kochava_segment.cli.options import VariableOption
from kochava_segment.json_log import JsonFormatter
from kochava_segment.options import ENVIRONMENT_PREFIX

_FORMATTERS: dict[str, Callable[[], logging.Formatter]] = {
    "text": lambda: logging.Formatter("%(asctime)s %(name)s: %(message)s"),
    "json": JsonFormatter,
}
_LEVELS = ("debug", "info", "warning", "error")


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--log-format` and `--log-level`, to be passed to `log_to_stderr`."""
    for name, choices, default, description in (
        (
            "log-level",
            _LEVELS,
            "warning",
            "From which level on this package's records are written.",
        ),
        ("log-format", tuple(_FORMATTERS), "text", "How log records are written."),
    ):
        variable = f"{ENVIRONMENT_PREFIX}{name.upper().replace('-', '_')}"
        command = click.option(
            f"--{name}",
            cls=VariableOption,
            envvar=variable,
            type=click.Choice(choices, case_sensitive=False),
            default=default,
            show_default=True,
            help=f"{description} [env: {variable}]",
        )(command)
    return command


def log_to_stderr(log_format: str, log_level: str) -> None:
    """Write log records to standard error from here on; other libraries' from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[log_format]())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("kochava_segment").setLevel(log_level.upper())


class _ToStandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)


@contextmanager
def relay_heard() -> Iterator[None]:
    """Have what relays warn of, such as refused credentials, written to standard error."""
    logger, handler = logging.getLogger("kochava_segment.relay"), _ToStandardError(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
