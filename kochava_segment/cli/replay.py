"""`replay`: an archive of any size, through a pipeline on this machine or on a cluster."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import attrs
import click
from typing_extensions import Self

from kochava_segment.cli.options import (
    MissingExtra,
    SectionedCommand,
    as_lines,
    destination_options,
)
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError
from kochava_segment.mapping.timestamps import epoch_seconds
from kochava_segment.options import Options
from kochava_segment.outcome import OutcomeKind
from kochava_segment.plural import counted

_LOCAL_RUNNER = "FnApiRunner"
_GOOD = ("accepted", "filtered", "duplicate", "mapped")
_SECRETS = ("api_key", "api_secret", "account_key")
_SHOWN_EVENTS = _SHOWN_PROBLEMS = 20
_SHOWN_BYTES = 4_000
_USUAL = ("INFO:", "WARNING:", "DEBUG:")
_PROGRESS = "kochava-segment worker "


def _parse_time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Any:
    if text is None:
        return None
    seconds = epoch_seconds(text)
    if seconds is None:
        raise click.BadParameter("must be a day or a time such as 2026-03-20T18:00:00Z")
    return seconds


@click.command(
    cls=SectionedCommand,
    short_help="Send an archive of any size, with Apache Beam.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument(
    "arguments", nargs=-1, metavar="INPUT... [--BEAM_OPTION=VALUE]...", type=click.UNPROCESSED
)
@click.option(
    "--since", metavar="TIME", callback=_parse_time, help="Only what happened from then on."
)
@click.option(
    "--until", metavar="TIME", callback=_parse_time, help="Only what happened before then."
)
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="NAME",
    help="Only this track event; may be repeated.",
)
@click.option(
    "--user", "users", multiple=True, metavar="ID", help="Only this userId; may be repeated."
)
@click.option("--dry-run", is_flag=True, help="Map everything, report on it, send nothing.")
@click.option(
    "--report",
    metavar="FILE",
    help="With --dry-run: the file that gets the report as JSON. Needed where the runner is not local.",
)
@click.option(
    "--failed",
    metavar="PREFIX",
    help="Write each message that was neither accepted nor filtered nor there twice to PREFIX-...jsonl, with its "
    "reason; `replay` and `send` read these files again.",
)
@click.option(
    "--runner",
    default=_LOCAL_RUNNER,
    metavar="NAME",
    show_default=True,
    help="Beam's runner: the default works on this machine; DataflowRunner, FlinkRunner, SparkRunner.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Worker processes: so many are started on this machine; of a cluster, the most that it can "
    "have at a time. --max-rate is divided by it.  [default here: 1]",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=64,
    metavar="N",
    show_default=True,
    help="Requests under way at once, in each worker process.",
)
@destination_options
def replay(load: Callable[..., KochavaDestination], **given: Any) -> None:
    """Send an archive of Segment messages, on this machine or on a cluster.

    INPUTs are paths or globs, local or on storage that Beam reaches (gs://, s3://), of JSON lines, JSON
    arrays, or gzip of either. All options of Beam can be given as well, as --name=value.

    Begin with --dry-run: it sends nothing, and says what is in the archive and what would become of
    it. A run that is stopped or fails keeps no account of what it has sent; on one machine,
    `send --outbox` goes on where it was.

    Exit code: 0 if all were accepted, filtered or there twice; 1 if some were not, or the run failed.
    """
    inputs = [word for word in given["arguments"] if not word.startswith("--")]
    flags = [word for word in given["arguments"] if word.startswith("--")]
    if not inputs:
        raise click.UsageError("name at least one INPUT: a path or a glob")
    with _QuietWorkers() as quiet:
        good = _replay(quiet, load, inputs, flags, given)
    sys.exit(0 if good else 1)


def _replay(
    quiet: _QuietWorkers,
    load: Callable[..., KochavaDestination],
    inputs: Sequence[str],
    flags: Sequence[str],
    given: Mapping[str, Any],
) -> bool:
    try:
        # Here, since --help need not wait for it.
        from kochava_segment.beam import Selection, replaying  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "apache_beam":
            raise
        raise MissingExtra(str(error)) from None
    with load() as destination:
        options = destination.options
    if options.outbox is not None:
        raise click.UsageError("--outbox is for one machine: use `send --outbox`")
    if missing := replaying.without_files(inputs):
        raise click.UsageError(f"no file matches {', '.join(missing)}")
    if unknown := replaying.unknown_flags(flags):
        raise click.UsageError("\n  ".join(unknown))
    try:
        run = replaying.Replay(
            inputs=inputs,
            selection=Selection(
                since=given["since"],
                until=given["until"],
                events=given["events"],
                users=given["users"],
            ),
            app_guid=options.app_guid,
            options=_keywords(options),
            flags=[*_flags(given["runner"], given["processes"]), *flags],
        )
        return _dry_run(run, given["report"]) if given["dry_run"] else _send(run, options, given)
    except ConfigurationError as error:
        raise click.UsageError(as_lines(_renamed(error))) from None
    except replaying.RunFailed as error:
        quiet.give_up(str(error))
    except KeyboardInterrupt:
        quiet.give_up("stopped by a signal")


def _renamed(error: ConfigurationError) -> ConfigurationError:
    """What the pipeline calls workers is --processes here: --workers are those of a relay."""
    return ConfigurationError(
        attrs.evolve(problem, path="processes") if problem.path == "workers" else problem
        for problem in error.problems
    )


def _flags(runner: str, processes: int | None) -> list[str]:
    flags = [f"--runner={runner}"]
    if processes is not None and processes > 1 and runner == _LOCAL_RUNNER:
        flags += [f"--direct_num_workers={processes}", "--direct_running_mode=multi_processing"]
    return flags


def _keywords(options: Options) -> dict[str, Any]:
    """The options as keywords, without those that are as ever, and without secrets."""
    default = Options()
    values = attrs.asdict(options, recurse=False)
    return {
        name: value
        for name, value in values.items()
        if value != getattr(default, name) and name not in (*_SECRETS, "app_guid")
    }


def _send(run: Any, options: Options, given: Mapping[str, Any]) -> bool:
    credentials = None
    if options.signed:
        from kochava_segment.beam.settings import credentials_from_environment  # noqa: PLC0415

        credentials = credentials_from_environment
        if run.is_local:  # the workers are this process and its children
            os.environ["KOCHAVA_SEGMENT_API_KEY"] = options.api_key or ""
            os.environ["KOCHAVA_SEGMENT_API_SECRET"] = options.api_secret or ""
    os.umask(0o077)  # what failed is personal data: for the eyes of their owner only
    counts = run.send(
        given["failed"],
        concurrency=given["concurrency"],
        workers=given["processes"],
        credentials=credentials,
    )
    outcomes = {kind.value: counts.get(kind.value, 0) for kind in OutcomeKind}
    _echo_counts(outcomes)
    _echo_listed("warnings", counts, prefix="warning_")
    if counts.get("maybe_repeated"):
        click.echo(
            f"{counted(counts['maybe_repeated'], 'accepted request')} may have been counted twice"
        )
    return all(kind in _GOOD for kind, count in outcomes.items() if count)


def _dry_run(run: Any, report: str | None) -> bool:
    if report is None and not run.is_local:
        raise click.UsageError(
            "--dry-run on a cluster needs --report FILE, in a place that you and the workers reach"
        )
    with ExitStack() as stack:
        if report is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            report = str(Path(folder) / "report.json")
        found = run.dry_run(report)
    _echo_counts(found["outcomes"], "; nothing was sent")
    click.echo("events:")
    for event, counts in list(found["events"].items())[:_SHOWN_EVENTS]:
        listed = ", ".join(f"{kind} {count}" for kind, count in counts.items())
        click.echo(f"  {_shown(event)}: {listed}")
    if len(found["events"]) > _SHOWN_EVENTS:
        click.echo(f"  and {len(found['events']) - _SHOWN_EVENTS} more, in the --report")
    _echo_listed("warnings", found["warnings"])
    for problem in found["problems"][:_SHOWN_PROBLEMS]:
        places = ", ".join(map(_place, problem["samples"]))
        click.echo(f"{problem['outcome']} {problem['count']}: {problem['reason']}")
        click.echo(f"  such as {places}")
    if len(found["problems"]) > _SHOWN_PROBLEMS:
        more = counted(len(found["problems"]) - _SHOWN_PROBLEMS, "other problem")
        click.echo(f"and {more}, in the --report")
    return all(kind in _GOOD for kind in found["outcomes"])


def _place(sample: Mapping[str, Any]) -> str:
    return f"{sample['file']}:{sample['line']}"


def _shown(event: str) -> str:
    # In ASCII, without control characters: names come from strangers.
    return ascii(event)[1:-1]


def _echo_counts(outcomes: Mapping[str, int], remark: str = "") -> None:
    click.echo(f"{counted(sum(outcomes.values()), 'message')}{remark}")
    for kind, count in outcomes.items():
        if count:
            click.echo(f"  {kind:<12}{count:>8}")


def _echo_listed(title: str, counts: Mapping[str, int], prefix: str = "") -> None:
    found: Sequence[tuple[str, int]] = sorted(
        ((name.removeprefix(prefix), n) for name, n in counts.items() if name.startswith(prefix)),
        key=lambda item: (-item[1], item[0]),
    )
    if found:
        click.echo(f"{title}: {', '.join(f'{name} {count}' for name, count in found)}")


class _Plain(logging.Formatter):
    """The text alone, also of what a worker process said, which an engine wraps."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        said = re.search(rf'"({_PROGRESS}[^"]*)"', text)
        return said[1] if said else text


class _QuietWorkers:
    """Shows the progress of workers and the errors of the engine, and nothing else of their logs.

    Worker processes write all that they log to standard error, too. That goes into a file, whose end
    is shown if the run fails.
    """

    def __init__(self) -> None:
        sys.stderr.flush()
        self._stderr = os.dup(2)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # until the process ends
        os.dup2(self._file.fileno(), 2)
        self._stream = os.fdopen(os.dup(self._stderr), "w", buffering=1, errors="replace")
        handler = logging.StreamHandler(self._stream)
        handler.addFilter(
            lambda record: record.levelno >= logging.ERROR or _PROGRESS in record.getMessage()
        )
        handler.setFormatter(_Plain())
        root = logging.getLogger()
        root.addHandler(handler)
        root.setLevel(logging.INFO)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Standard error is as it was."""
        os.dup2(self._stderr, 2)

    def give_up(self, why: str) -> NoReturn:
        """End at once: threads of the engine may wait for a worker that is gone."""
        self._file.seek(max(0, self._file.seek(0, os.SEEK_END) - _SHOWN_BYTES))
        for line in self._file.read().decode(errors="replace").splitlines()[1:]:
            if not line.startswith(_USUAL):
                self._stream.write(line + "\n")
        self._stream.write(f"the run ended early: {why}\n")
        self._stream.write("what it has sent until then is in no output\n")
        self._stream.flush()
        sys.stdout.flush()
        os._exit(1)
