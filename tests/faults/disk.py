"""A disk that forgets what was not synced: it replays a log of `disk_log.c` up to a power cut.

What was written since a file's last sync may be there or not, sector by sector; a file made or deleted
since its folder's last sync may be there or not. That is all that POSIX promises.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

_HEAD = struct.Struct("<cIQQ")
_SECTOR = 512


class Record(NamedTuple):
    """Something that was done to a file: W write, T truncate, S sync, U unlink."""

    what: str
    path: str
    offset: int
    data: bytes


def recorder(folder, log, build_in):
    """The environment in which a process writes down what it does to the files of a folder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not Path("/proc/self/fd").is_dir():
        pytest.skip("needs Linux and a C compiler: writes and syncs are recorded by a C library")
    library = build_in / "disk_log.so"
    source = Path(__file__).with_name("disk_log.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"],
        check=True,
    )
    return {
        "LD_PRELOAD": str(library),
        "DISK_LOG": str(log),
        "DISK_LOG_FOLDER": str(folder),
    }


def read_log(log):
    """The records of a log."""
    data, position, records = log.read_bytes(), 0, []
    while position < len(data):
        what, path_length, offset, length = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        path = data[position : position + path_length].decode()
        position += path_length
        records.append(Record(what.decode(), path, offset, data[position : position + length]))
        position += length
    return records


class Disk:
    """What may be on the disk after the records so far."""

    def __init__(self, folder):
        self._folder = str(folder)
        self._files = {}  # by path
        self._names_changed = {}  # since the last sync of the folder: what was there before

    def do(self, record):
        """One more record."""
        if record.what == "S" and record.path == self._folder:
            self._names_changed.clear()
        elif record.what == "U":
            self._names_changed.setdefault(record.path, self._files.pop(record.path, None))
        elif record.what == "S":
            if record.path in self._files:
                self._files[record.path].sync()
        else:
            if record.path not in self._files:
                self._names_changed.setdefault(record.path, None)
                self._files[record.path] = _File()
            self._files[record.path].unsynced.append(record)

    def after_a_power_cut(self, chance):
        """One of the states that may be found then: the content of each file by name."""
        changed = self._names_changed.items()
        undone = {path: before for path, before in changed if chance.random() < 0.5}
        files = {**self._files, **undone}
        share = chance.choice((0.0, 1.0, chance.random()))
        return {
            Path(path).name: file.content(chance, share)
            for path, file in files.items()
            if file is not None
        }


class _File:
    def __init__(self):
        self._synced = bytearray()
        self.unsynced = []

    def sync(self):
        for record in self.unsynced:
            _apply(self._synced, record)
        self.unsynced.clear()

    def content(self, chance, share):
        """Its content, with about a share of what was not synced."""
        found = bytearray(self._synced)
        for record in self.unsynced:
            for part in _sectors(record):
                if chance.random() < share:
                    _apply(found, part)
        return bytes(found)


def _sectors(record):
    if record.what != "W":
        return [record]
    parts, position = [], 0
    while position < len(record.data):
        end = position + _SECTOR - (record.offset + position) % _SECTOR
        data = record.data[position:end]
        parts.append(record._replace(offset=record.offset + position, data=data))
        position = end
    return parts


def _apply(content, record):
    if record.what == "T":
        del content[record.offset :]
    end = record.offset + len(record.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[record.offset : end] = record.data
