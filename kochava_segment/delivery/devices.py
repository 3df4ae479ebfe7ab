"""The device directory: which devices each user was seen with, in the same file as the outbox.

Engage often names a user and no device, and Kochava links devices only. Users are stored as hashes;
device ids as they are, since they have to be sent.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Sequence

from attrs import frozen

from kochava_segment.delivery.outbox_file import OutboxFile

_REFRESH_AFTER = 600.0  # seconds; a device that is seen all the time is not written all the time
_REMEMBERED = 50_000  # pairs of owner and device that were written lately
_TIDIED_EVERY = 24 * 3600.0
_LOOKED_AT_ONCE = 500  # owners, each second, for devices that were not seen for too long
_DAY = 24 * 3600.0


@frozen(kw_only=True)
class KnownDevice:
    """A device in the directory.

    Attributes:
        app_guid: The Kochava App GUID that it was seen with.
        platform: `apple`, `android` or None.
        kochava_device_id: Kochava's name for the app instance, "" where nothing told it.
        device_ids: Its ids by Kochava's keys (`idfa`, `idfv`, `adid`, `android_id` or custom).
        last_seen: Epoch seconds.
    """

    app_guid: str
    platform: str | None
    kochava_device_id: str
    device_ids: dict[str, str]
    last_seen: float = 0.0


class DeviceDirectory:
    """Remembers devices of users, in an outbox file.

    Args:
        file: The file.
        per_user: How many devices of a user are kept, the latest ones.
        days: For how long after a device was last seen it is kept.
    """

    def __init__(self, file: OutboxFile, *, per_user: int = 5, days: float = 400.0) -> None:
        self._file = file
        self._per_user = per_user
        self._kept_for = days * _DAY
        self._written: dict[tuple[bytes, bytes], float] = {}
        self._tidied_up_to: tuple[bytes, int] = (b"", 0)
        self._tidy_at = float("-inf")

    def remember(
        self,
        cursor: sqlite3.Cursor,
        device: KnownDevice,
        *,
        user_id: str | None,
        anonymous_id: str | None,
    ) -> None:
        """Note in a transaction that a user was seen with a device."""
        now = time.time()
        fingerprint = _fingerprint(device)
        for owner in _owners(user_id, anonymous_id):
            seen = self._written.get((owner, fingerprint))
            if seen is not None and 0 <= now - seen < _REFRESH_AFTER:
                continue
            self._write(cursor, owner, device, fingerprint, now)
            if len(self._written) >= _REMEMBERED:
                self._written.clear()
            self._written[owner, fingerprint] = now
        if time.monotonic() >= self._tidy_at:
            self._tidy(cursor, now)

    def rolled_back(self) -> None:
        """Nothing of what was remembered last was stored."""
        self._written.clear()

    def _tidy(self, cursor: sqlite3.Cursor, now: float) -> None:
        """Forget some of the devices that were not seen for too long, going on where it stopped."""
        owners = cursor.execute(
            "SELECT name, device, last_seen FROM owner WHERE (name, device) > (?, ?) "
            "ORDER BY name, device LIMIT ?",
            (*self._tidied_up_to, _LOOKED_AT_ONCE),
        ).fetchall()
        for name, device, last_seen in owners:
            if last_seen < now - self._kept_for:
                _disown(cursor, name, device)
        done = len(owners) < _LOOKED_AT_ONCE
        self._tidied_up_to = (b"", 0) if done else owners[-1][:2]
        self._tidy_at = time.monotonic() + (_TIDIED_EVERY if done else 1.0)

    def _write(
        self,
        cursor: sqlite3.Cursor,
        owner: bytes,
        device: KnownDevice,
        fingerprint: bytes,
        now: float,
    ) -> None:
        cursor.execute(
            "INSERT INTO device (fingerprint, app_guid, platform, kochava_device_id, device_ids, "
            "last_seen) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (fingerprint) DO UPDATE SET last_seen = excluded.last_seen",
            (
                fingerprint,
                device.app_guid,
                device.platform,
                device.kochava_device_id,
                json.dumps(device.device_ids),
                now,
            ),
        )
        (number,) = cursor.execute(
            "SELECT id FROM device WHERE fingerprint = ?", (fingerprint,)
        ).fetchone()
        cursor.execute(
            "INSERT INTO owner (name, device, last_seen) VALUES (?, ?, ?) "
            "ON CONFLICT (name, device) DO UPDATE SET last_seen = excluded.last_seen",
            (owner, number, now),
        )
        surplus = cursor.execute(
            "SELECT device FROM owner WHERE name = ? ORDER BY last_seen DESC, device DESC "
            "LIMIT -1 OFFSET ?",
            (owner, self._per_user),
        ).fetchall()
        for (device_number,) in surplus:
            _disown(cursor, owner, device_number)

    def devices_of(
        self, user_id: str | None = None, anonymous_id: str | None = None
    ) -> list[KnownDevice]:
        """The devices of a user, the latest first: of the userId, else of the anonymousId."""
        with self._file.reading() as connection:
            return self.devices_in(connection.cursor(), user_id, anonymous_id)

    def devices_in(
        self, cursor: sqlite3.Cursor, user_id: str | None, anonymous_id: str | None = None
    ) -> list[KnownDevice]:
        """The same, in a transaction."""
        for owner in _owners(user_id, anonymous_id):
            rows = cursor.execute(
                "SELECT app_guid, platform, kochava_device_id, device_ids, owner.last_seen "
                "FROM owner JOIN device ON device.id = owner.device "
                "WHERE owner.name = ? AND owner.last_seen >= ? "
                "ORDER BY owner.last_seen DESC, device.id DESC",
                (owner, time.time() - self._kept_for),
            ).fetchall()
            if rows:
                return [_known(row) for row in rows]
        return []

    def forget(self, cursor: sqlite3.Cursor, user_id: str) -> int:
        """Delete a user, and the devices that no other user has, with their anonymousIds.

        Returns:
            How many devices the user was known to have.
        """
        (user,) = _owners(user_id, None)
        devices = cursor.execute("SELECT device FROM owner WHERE name = ?", (user,)).fetchall()
        for (device,) in devices:
            _disown(cursor, user, device)
            owners = cursor.execute("SELECT name FROM owner WHERE device = ?", (device,)).fetchall()
            if not any(name.startswith(_USER) for (name,) in owners):
                for (name,) in owners:
                    _disown(cursor, name, device)
        self._written.clear()
        return len(devices)


_USER, _ANONYMOUS = b"u", b"a"


def _disown(cursor: sqlite3.Cursor, owner: bytes, device: int) -> None:
    """Take a device off an owner, and delete it if it was the last one."""
    cursor.execute("DELETE FROM owner WHERE name = ? AND device = ?", (owner, device))
    cursor.execute(
        "DELETE FROM device WHERE id = ? AND NOT EXISTS (SELECT 1 FROM owner WHERE device = ?)",
        (device, device),
    )


def _owners(user_id: str | None, anonymous_id: str | None) -> Sequence[bytes]:
    return [
        kind + hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for kind, name in ((_USER, user_id), (_ANONYMOUS, anonymous_id))
        if name
    ]


def _fingerprint(device: KnownDevice) -> bytes:
    what = [device.app_guid, device.kochava_device_id, sorted(device.device_ids.items())]
    text = json.dumps(what).encode()
    return hashlib.blake2b(text, digest_size=16).digest()


def _known(row: tuple[str, str | None, str, str, float]) -> KnownDevice:
    app_guid, platform, kochava_device_id, device_ids, last_seen = row
    return KnownDevice(
        app_guid=app_guid,
        platform=platform,
        kochava_device_id=kochava_device_id,
        device_ids=json.loads(device_ids),
        last_seen=last_seen,
    )
