"""The SQLite file of an outbox: its schema, its connections, and what its errors mean.

Each process opens the file for itself, also after a fork: SQLite's locks and caches must not be
shared with a parent. All writing of a process goes through one connection, one transaction at a
time; processes wait for each other.
"""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from kochava_segment.delivery.after_fork import keep_for_ever, wait_for_imports
from kochava_segment.errors import OutboxError, OutboxUnavailable, OutboxUnusable
from kochava_segment.log_events import OUTBOX_NOT_PRIVATE

Durability = Literal["normal", "full"]

PENDING = "state = 'waiting'"
"""As a condition in SQL. Queries must say it to the letter, or the partial indexes are not used."""

FAILED = "state IN ('rejected', 'exhausted', 'ambiguous')"
"""Likewise."""

_APPLICATION_ID = 0x4B6F5367  # "KoSg": this SQLite file is an outbox and nothing else
_CHECKED_UP_TO = 32 * 2**20  # bytes of a file that are checked as a whole when it is opened
_BUSY_TIMEOUT = 30.0  # seconds to wait for other processes
_CACHE_KIB = 16_384
_CHECKPOINT_PAGES = 16_000  # of the -wal file, which takes 64 MB then: each copy back takes long

# A schema version is the number of these that a file has seen. Never change one: add another.
_MIGRATIONS = (
    f"""
    CREATE TABLE app (
        id INTEGER PRIMARY KEY,
        guid TEXT NOT NULL UNIQUE,
        not_before REAL NOT NULL DEFAULT 0,  -- monotonic seconds, after a 429
        paused_at REAL,                      -- epoch seconds, after a 401 or 403
        paused_credentials BLOB              -- a digest of those that were refused
    );
    CREATE TABLE request (
        id INTEGER PRIMARY KEY,
        fingerprint BLOB UNIQUE,             -- of messageId, action and app, NULL has no duplicates
        message_id TEXT,
        action TEXT NOT NULL,
        app INTEGER NOT NULL,
        lane INTEGER NOT NULL,               -- a hash of the ordering key: one for each device
        rank INTEGER NOT NULL,               -- 0 for installs, which go first, 1 for the rest
        state TEXT NOT NULL,
        user INTEGER,                        -- a hash of the userId
        queued_at REAL NOT NULL,             -- epoch seconds
        changed_at REAL NOT NULL,            -- likewise
        attempts INTEGER NOT NULL DEFAULT 0,
        waited REAL NOT NULL DEFAULT 0,      -- seconds between attempts so far
        maybe_sent INTEGER NOT NULL DEFAULT 0,
        duplicates INTEGER NOT NULL DEFAULT 0,
        status INTEGER,
        reason TEXT,
        token_expires_at REAL                -- epoch seconds, of an AdServices token
    );
    CREATE INDEX request_pending ON request (lane, rank, id)
        WHERE state IN ('waiting', 'in flight');
    CREATE INDEX request_failed ON request (state, id) WHERE {FAILED};
    CREATE TABLE body (
        id INTEGER PRIMARY KEY,
        url TEXT NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL
    );
    CREATE TABLE lane (
        lane INTEGER PRIMARY KEY,
        app INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        head INTEGER NOT NULL,               -- the request that goes next
        not_before REAL NOT NULL DEFAULT 0,  -- monotonic seconds, 0 is ready
        relay INTEGER                        -- who has leased it
    );
    CREATE INDEX lane_ready ON lane (app, rank, head) WHERE relay IS NULL AND not_before = 0;
    CREATE INDEX lane_backing_off ON lane (not_before) WHERE relay IS NULL AND not_before > 0;
    CREATE INDEX lane_leased ON lane (relay) WHERE relay IS NOT NULL;
    CREATE TABLE relay (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        lease REAL NOT NULL,                 -- seconds
        lease_until REAL NOT NULL            -- monotonic seconds
    );
    CREATE TABLE purged (
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (state, reason)
    );
    CREATE TABLE device (
        id INTEGER PRIMARY KEY,
        fingerprint BLOB NOT NULL UNIQUE,
        app_guid TEXT NOT NULL,
        platform TEXT,
        kochava_device_id TEXT NOT NULL,
        device_ids TEXT NOT NULL,            -- JSON
        last_seen REAL NOT NULL              -- epoch seconds
    );
    CREATE TABLE owner (
        name BLOB NOT NULL,                  -- a hash of the userId or anonymousId
        device INTEGER NOT NULL,
        last_seen REAL NOT NULL,
        PRIMARY KEY (name, device)
    ) WITHOUT ROWID;
    CREATE INDEX owner_device ON owner (device);
    """,
    # What no index depends on can be changed in half the time.
    f"""
    ALTER TABLE request ADD COLUMN leased INTEGER NOT NULL DEFAULT 0;  -- 1: a relay sends it
    UPDATE request SET state = 'waiting', leased = 1 WHERE state = 'in flight';
    DROP INDEX request_pending;
    CREATE INDEX request_pending ON request (lane, rank, id) WHERE {PENDING};
    """,
)
SCHEMA_VERSION = len(_MIGRATIONS)

# SQLite's sentences, which Python 3.10 has instead of codes.
_UNAVAILABLE = (
    ("disk is full", "the disk is full: nothing was stored. Free some space"),
    ("readonly", "the file or its folder cannot be written: check its owner and permissions"),
    ("unable to open", "the file cannot be opened: check its folder, owner and permissions"),
    ("locked", f"other processes kept it locked for {_BUSY_TIMEOUT:.0f} s"),
    ("disk I/O error", "the disk failed to read or write: check it, and that it is a local one"),
)
_CORRUPT = ("malformed", "quick_check")
SALVAGE = "kochava-segment outbox export --salvage"


class OutboxFile:
    """One outbox file, as this process sees it.

    Args:
        path: Where it is; it is made, for its owner alone, if it is not there.
        durability: "normal" survives the death of the process, "full" also a power cut.
    """

    def __init__(self, path: str | Path, durability: Durability = "normal") -> None:
        # The process may change its directory before the file is opened again, daemons do.
        self.path: Path = Path(path).absolute()
        self._synchronous = {"normal": "NORMAL", "full": "FULL"}[durability]
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._reading_lock = threading.RLock()
        self._checked = False
        _files.add(self)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Cursor]:
        """A transaction: all of it is stored, or nothing.

        Raises:
            OutboxUnavailable: if the disk is full, the file read-only or locked for too long.
            OutboxUnusable: if the file is damaged, newer than this library, or no outbox.
        """
        with self._lock, self._translated():
            cursor = self._connected().cursor()
            try:
                self._begin(cursor)
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection is not None and self._connection.in_transaction:
                    self._connection.rollback()
                raise
            finally:
                cursor.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads, and never holds up the writing.

        Raises:
            OutboxError: as `writing`.
        """
        with self._translated():
            with self._lock:
                self._connected()  # makes the file, and checks it
            with self._reading_lock, closing(self._open(writable=False)) as connection:
                yield connection

    def used_bytes(self, cursor: sqlite3.Cursor) -> int:
        """How large the file is, without the pages that are free to be used again."""
        pages, free, size = (
            cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def vacuum(self) -> tuple[int, int]:
        """Give free pages back to the disk; the size of the file in bytes before and after.

        Raises:
            OutboxError: as `writing`.
        """
        with self._lock, self._translated():
            connection = self._connected()
            connection.execute(f"PRAGMA busy_timeout={int(_BUSY_TIMEOUT * 1000)}")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                before = self.path.stat().st_size
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.execute("PRAGMA busy_timeout=0")
            return before, self.path.stat().st_size

    def close(self) -> None:
        """Close the connection. It is opened again where it is needed."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # A fork waits until no thread is inside of SQLite, and finds no connection. SQLite keeps its
    # locks for a process by file: a child that inherits them takes them for its own, does not lock,
    # and goes on writing into a -wal file that the last of the others has deleted.

    def before_fork(self) -> None:
        """Let nobody else in, and close the connection: it is opened again where it is needed."""
        self._lock.acquire()
        self._reading_lock.acquire()
        if self._connection is not None and not self._connection.in_transaction:
            self.close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._reading_lock.release()
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Start afresh."""
        self._lock, self._reading_lock = threading.RLock(), threading.RLock()
        connection, self._connection = self._connection, None
        if connection is not None:  # a fork in the middle of a transaction, by its own thread
            # Even closing it could checkpoint under the parent's feet.
            keep_for_ever(connection)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._create()
            connection = self._open(writable=True)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _create(self) -> None:
        # An existing file is not opened: closing it would drop the locks that SQLite has on it
        # for others in this process, and their changes with them. Nor must they open it yet.
        with _creating:
            try:
                # For its owner alone; SQLite gives the files beside it the same permissions. A link
                # to a file that is not there yet would have SQLite make it, for all to read.
                file = self.path.resolve()
                os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                return
            except OSError as error:
                raise OutboxUnavailable(f"{self.path} cannot be made: {error.strerror}") from None

    def _look_who_else_can(self) -> None:
        if os.name != "posix":
            return
        try:
            found = self.path.stat()
        except OSError:  # it was moved away meanwhile
            return
        who = None
        if found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            who = "every user of this machine can read or write"
        elif os.geteuid() not in (0, found.st_uid) and found.st_uid:
            who = "another user owns"
        if who is not None:
            OUTBOX_NOT_PRIVATE.log(reason=f"{who} {self.path}")

    def _open(self, *, writable: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=0.0 if writable else _BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        if not writable:
            connection.execute("PRAGMA query_only=1")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        cursor = connection.cursor()
        connection.execute(f"PRAGMA busy_timeout={int(_BUSY_TIMEOUT * 1000)}")
        # In one transaction: another process may be making its tables.
        cursor.execute("BEGIN")
        (tables,) = cursor.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        (version,) = cursor.execute("PRAGMA user_version").fetchone()
        (application,) = cursor.execute("PRAGMA application_id").fetchone()
        cursor.execute("COMMIT")
        if application != _APPLICATION_ID and (application or version or tables):
            raise OutboxUnusable(
                f"{self.path} is an SQLite database of something else: name another file. Nothing was "
                "changed"
            )
        if version > SCHEMA_VERSION:
            raise OutboxUnusable(
                f"{self.path} was written by a newer kochava-segment (schema {version}; this one "
                f"knows {SCHEMA_VERSION}): update it. Nothing was changed"
            )
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={self._synchronous}")
        cursor.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        cursor.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        cursor.execute("PRAGMA temp_store=MEMORY")
        if not self._checked and self.path.stat().st_size <= _CHECKED_UP_TO:
            (found,) = cursor.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError("quick_check")
        if not self._checked:
            self._look_who_else_can()
        self._checked = True
        if version < SCHEMA_VERSION:
            self._migrate(cursor)
        connection.execute("PRAGMA busy_timeout=0")  # from here on, _begin does the waiting

    def _migrate(self, cursor: sqlite3.Cursor) -> None:
        cursor.execute("BEGIN IMMEDIATE")
        # Another process may have been faster.
        (version,) = cursor.execute("PRAGMA user_version").fetchone()
        for number in range(version, SCHEMA_VERSION):
            for statement in _MIGRATIONS[number].split(";"):
                cursor.execute(statement)
        cursor.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        cursor.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        cursor.execute("COMMIT")

    def _begin(self, cursor: sqlite3.Cursor) -> None:
        # SQLite's own waiting sleeps up to 0.1 s at a time and starves who waits the longest.
        deadline = time.monotonic() + _BUSY_TIMEOUT
        while True:
            try:
                cursor.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.0002, 0.002))  # noqa: S311  # no secret hangs on it
            else:
                return

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._meaning(error) from None

    def _meaning(self, error: sqlite3.DatabaseError) -> OutboxError:
        text = str(error)
        for fragment, detail in _UNAVAILABLE:
            if fragment in text:
                return OutboxUnavailable(f"{self.path}: {detail}")
        if "not a database" in text:
            return OutboxUnusable(
                f"{self.path} is no outbox: it is another kind of file, or its beginning is damaged. "
                "Name another file"
            )
        if any(fragment in text for fragment in _CORRUPT):
            return OutboxUnusable(
                f"{self.path} is damaged. Move it away, and its -wal file with it, and get out what "
                f"can be read: {SALVAGE} PATH"
            )
        return OutboxError(f"{self.path}: SQLite says: {text}")


# All files of this process: a fork copies them, and the child needs connections of its own.
_files: weakref.WeakSet[OutboxFile] = weakref.WeakSet()
_held: list[OutboxFile] = []
_creating = threading.Lock()


def _before_fork() -> None:
    wait_for_imports()  # as long as leases can be renewed
    _held[:] = list(_files)
    for file in _held:
        file.before_fork()
    _creating.acquire()  # after the others, as in _connected


def _after_fork_in_parent() -> None:
    _creating.release()
    while _held:
        _held.pop().after_fork_in_parent()


def _after_fork_in_child() -> None:
    _creating.release()
    _held.clear()
    for file in list(_files):
        file.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
