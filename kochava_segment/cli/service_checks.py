"""What `doctor` finds of a service: whether its outbox can be used, and the receiver's secrets guessed."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from kochava_segment.cli.finding import Finding
from kochava_segment.cli.serve import SECRETS, SHORTEST
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_file import SCHEMA_VERSION
from kochava_segment.delivery.outbox_inspection import (
    FAILED_STATES,
    PENDING_STATES,
    OutboxDepth,
    outbox_depth,
)
from kochava_segment.errors import OutboxError
from kochava_segment.options import ENVIRONMENT_PREFIX
from kochava_segment.printable import printable

_LATE = 900.0  # seconds; /readyz of the receiver says no from then on, too


def outbox(path: str | None) -> Iterator[Finding]:
    """Whether an outbox can be used, and what is in it. It is neither made nor migrated for that."""
    if path is None:
        what = "no outbox is set: what is under way when a process ends is not kept"
        yield Finding(
            "note", what, "that is right unless you `enqueue` messages, or run `serve`: set outbox"
        )
    elif not os.access(path, os.F_OK):
        yield _can_be_made(Path(path))
    elif 0 < (schema := _schema(Path(path))) < SCHEMA_VERSION:
        what = f"the outbox {path} has schema {schema}; its next use brings it to {SCHEMA_VERSION}"
        yield Finding("note", what, "update all processes that share it, stopped, before that")
    else:
        yield from _in_use(Path(path))


def _can_be_made(path: Path) -> Finding:
    folder = path.absolute().parent
    if os.access(folder, os.W_OK | os.X_OK) and folder.is_dir():
        return Finding("ok", f"the outbox {path} is not there yet, and can be made")
    what = f"the outbox {path} cannot be made in its folder"
    return Finding("fail", what, f"make {folder}, and let the user of the service write there")


def _schema(path: Path) -> int:
    """Of which schema it says that it is; 0 where it says nothing, which opening it will explain."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            return int(opened.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error:
        return 0


def _in_use(path: Path) -> Iterator[Finding]:
    box = Outbox(path)
    try:
        with box.file.writing():
            pass
        found = outbox_depth(box)
    except OutboxError as error:
        yield Finding("fail", f"the outbox cannot be used: {error}")
        return
    finally:
        box.close()
    pending, failed = (_count(found, states) for states in (PENDING_STATES, FAILED_STATES))
    what = f"the outbox {path} can be read and written: {pending:,} to be sent, {failed:,} failed"
    yield Finding("ok", what)
    if os.name == "posix" and path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        what = "every user of this machine can read or write the outbox"
        yield Finding("note", what, f"chmod 600 {path}, and its -wal and -shm files")
    if found.oldest_age is not None and found.oldest_age > _LATE:
        what = f"the oldest message in it has waited for {found.oldest_age / 60:,.0f} min"
        advice = f"see whether a relay drains it: kochava-segment outbox status --outbox {path}"
        yield Finding("note", what, advice)
    if failed:
        advice = f"kochava-segment outbox list --outbox {path}, then `outbox retry` or `discard`"
        yield Finding("note", "what has failed in it waits for you", advice)
    for guid in found.paused:
        what = f"app {printable(guid)} is paused: Kochava refused its credentials"
        yield Finding("fail", what, "mend api_key and api_secret, then restart the relay")


def _count(found: OutboxDepth, states: tuple[str, ...]) -> int:
    return sum(found.states.get(state, 0) for state in states)


def receiver_secrets(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the secrets of `serve` are set and hard to guess, as far as the environment has them."""
    given: dict[str, str] = {}
    for name, kind in SECRETS.items():
        variable = f"{ENVIRONMENT_PREFIX}{name.upper()}"
        text = environment.get(variable, "").strip()
        try:
            given[variable] = kind.check(text) if text else ""
        except ValueError as error:
            yield Finding("fail", f"{variable} {error}", "`openssl rand -hex 20` makes good ones")
            return
    webhook, bearer, *_ = given
    if not given[webhook] and not given[bearer]:
        what = "no secret of the receiver is set: everybody on this machine could post to it"
        yield Finding("note", what, f"that is right unless you run `serve`: set {webhook} for it")
    short = [variable for variable, text in given.items() if 0 < len(text) < SHORTEST]
    if short:
        what = f"{', '.join(short)}: fewer than {SHORTEST} characters can be guessed"
        yield Finding("note", what, "`openssl rand -hex 20` makes good ones")
    elif any(given.values()):
        yield Finding(
            "ok", f"the secrets of the receiver that are set have {SHORTEST} characters or more"
        )
