"""From a message to the outbox: what it becomes, which devices it is for, what a deletion takes along.

Between the mapping, which knows no storage, and the outbox, which knows no Segment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any

from attrs import frozen

from kochava_segment.delivery.devices import DeviceDirectory, KnownDevice
from kochava_segment.delivery.outbox import NewEntry, Outbox, OutboxSettings
from kochava_segment.delivery.outbox_changes import discard_user
from kochava_segment.delivery.outbox_inspection import (
    OutboxStatus,
    has_pending,
    outbox_status,
)
from kochava_segment.delivery.relay import Relay, RelaySettings
from kochava_segment.delivery.transport import Transport
from kochava_segment.errors import (
    ConfigurationError,
    InvalidEventPayload,
    KochavaSegmentError,
    MappingError,
    OutboxError,
    Problem,
)
from kochava_segment.mapping import deletion, mapper
from kochava_segment.mapping.identifiers import Device, identify_device
from kochava_segment.mapping.message import Message
from kochava_segment.options import Options
from kochava_segment.outcome import Outcome, OutcomeKind
from kochava_segment.request import KochavaRequest

_GROUP = 1_000  # messages of enqueue_many that are committed together
_FLUSH_POLL = 0.02  # seconds
_STARTED_WITHIN = 30.0  # seconds
_FORGOTTEN = "the user asked to be forgotten"
_DEPENDENT = ("delete", "identify")  # what becomes of these hangs on what was stored before


@frozen(kw_only=True)
class Forgotten:
    """What `forget` did.

    Attributes:
        devices: How many devices of the user the directory knew, and has forgotten.
        discarded: How many undelivered requests of the user were discarded.
        deletion_requests: How many data subject requests to Kochava were queued.
    """

    devices: int
    discarded: int
    deletion_requests: int


class DurableQueue:
    """The outbox of a destination, with its relay and its device directory.

    Args:
        options: The destination's options; `outbox` is set.
        transport: Posts the requests.
        prepare: Makes a stored request ready to be posted: its endpoint and its signature.
        credentials: A digest of the credentials that `prepare` signs with.
    """

    def __init__(
        self,
        options: Options,
        transport: Transport,
        *,
        prepare: Callable[[KochavaRequest], KochavaRequest],
        credentials: bytes,
    ) -> None:
        self._options = options
        self.outbox = Outbox(
            options.outbox or "",
            OutboxSettings(
                durability=options.durability,
                dedup_window=options.dedup_window,
                retention=options.retention,
                max_size=int(options.max_size * 2**20),
                when_full=options.when_full,
            ),
        )
        # Always there to forget; used for anything else only where that was asked for.
        self.directory = DeviceDirectory(
            self.outbox.file, per_user=options.devices_per_user, days=options.devices_days
        )
        self.relay = Relay(
            self.outbox,
            transport,
            prepare=prepare,
            credentials=credentials,
            settings=RelaySettings(
                workers=options.workers,
                lease=options.lease,
                retry=options.outbox_retry,
                max_rate=options.max_rate,
            ),
            hooks=options.hooks,
        )
        self._closed = False
        if options.stop_on_sigterm:
            stop_on_sigterm(self.relay)

    def enqueue(self, item: KochavaRequest | Mapping[str, Any]) -> Outcome:
        """See `KochavaDestination.enqueue`."""
        (outcome,) = self._put_all([(0, item)])
        if isinstance(outcome.error, KochavaSegmentError):
            raise outcome.error
        return outcome

    def enqueue_many(self, items: Iterable[object]) -> list[Outcome]:
        """See `KochavaDestination.enqueue_many`."""
        outcomes: list[Outcome] = []
        group: list[tuple[int, object]] = []
        for index, item in enumerate(items):
            group.append((index, item))
            if len(group) == _GROUP:
                outcomes += self._put_all(group)
                group = []
        if group:
            outcomes += self._put_all(group)
        return outcomes

    def _put_all(self, items: Sequence[tuple[int, object]]) -> list[Outcome]:
        """Map messages and store what they become, as far as possible in one transaction."""
        self._start()  # also if the outbox has no room: who else would make some?
        outcomes: dict[int, Outcome] = {}
        group = _Group()
        for index, item in items:
            kind = _get(item, "type")
            try:
                if kind in _DEPENDENT and self._depends(kind, item, group):
                    self._store(group, outcomes)
                if kind == "delete":
                    outcomes[index] = self._delete(index, item)
                else:
                    group.add(index, self._prepare(item))
            except OutboxError:
                raise
            except KochavaSegmentError as error:
                outcomes[index] = Outcome.of_error(index, error)
        self._store(group, outcomes)
        self.wake()
        return [outcomes[index] for index, _ in items]

    def _depends(self, kind: object, item: object, group: _Group) -> bool:
        """Whether what becomes of an item depends on what stands in the group before it."""
        if not group.prepared or kind == "delete":
            return bool(group.prepared)
        return not group.owners.isdisjoint(
            str(_get(item, key)) for key in ("userId", "anonymousId")
        )

    def _store(self, group: _Group, outcomes: dict[int, Outcome]) -> None:
        """Store what messages became, in one transaction; the group is empty then."""
        prepared = group.take()
        if not prepared:
            return
        entries = [entry for _, one in prepared for entry in one.entries]
        try:
            new = iter(self.outbox.put(entries, also=partial(self._remember, prepared)))
        except OutboxError:
            self.directory.rolled_back()
            raise
        for index, one in prepared:
            stored = [next(new) for _ in one.entries]
            first = one.entries[0].request
            outcomes[index] = Outcome(
                index=index,
                message_id=first.message_id,
                kind=OutcomeKind.QUEUED if any(stored) else OutcomeKind.DUPLICATE,
                warnings=first.warnings,
            )

    def _prepare(self, item: object) -> _Prepared:
        """What an item becomes."""
        if isinstance(item, KochavaSegmentError):  # what a reader made of what it could not read
            raise item
        if isinstance(item, KochavaRequest):
            return _Prepared(entries=(NewEntry(request=item),))
        try:
            return self._map(item)  # type: ignore[arg-type]  # others are invalid
        except KochavaSegmentError:
            raise
        except Exception as error:  # noqa: BLE001  # of a Mapping that cannot be read
            problem = Problem("$", f"cannot be read: it raised {type(error).__name__}")
            raise InvalidEventPayload([problem]) from None

    def _map(self, raw: Mapping[str, Any]) -> _Prepared:
        message = Message(raw, self._options)
        if not self._options.devices:
            request = mapper.map_parsed(message)
            return _Prepared(entries=(NewEntry(request=request, user_id=message.user_id),))
        user_id, anonymous_id = message.user_id, message.root.word("anonymousId")
        if message.root.get("type") == "identify" and not _named_device(message):
            links = tuple(
                NewEntry(
                    request=mapper.map_identity_link(raw, self._options, _device(known)),
                    user_id=user_id,
                    per_device=True,
                )
                for known in self.directory.devices_of(user_id, anonymous_id)
            )
            if links:
                return _Prepared(entries=links)
        request = mapper.map_message(raw, self._options)
        return _Prepared(
            entries=(NewEntry(request=request, user_id=user_id),),
            device=_named_device(message),
            user_id=user_id,
            anonymous_id=anonymous_id,
        )

    def _remember(self, prepared: Sequence[tuple[int, _Prepared]], cursor: sqlite3.Cursor) -> None:
        for _, one in prepared:
            if one.device is not None:
                known = KnownDevice(
                    app_guid=one.device.app_guid,
                    platform=one.device.platform,
                    kochava_device_id=one.device.kochava_device_id,
                    device_ids=one.device.known_ids,
                )
                self.directory.remember(
                    cursor, known, user_id=one.user_id, anonymous_id=one.anonymous_id
                )

    def _start(self, *, again: bool = False) -> None:
        if self._options.relay and not self._closed:
            self.relay.start(again=again)

    def wake(self) -> None:
        """See to it that the relay works, if it is this process that is to run one."""
        self._start()
        if self._options.relay:
            self.relay.wake()

    def flush(self, timeout: float | None) -> OutboxStatus:
        """See `KochavaDestination.flush`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._start(again=True)
        self.wake()
        if self._options.relay:
            self.relay.wait_until_started(_STARTED_WITHIN if timeout is None else timeout)
        while has_pending(self.outbox):
            left = _FLUSH_POLL if deadline is None else deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, _FLUSH_POLL))
        return outbox_status(self.outbox)

    def _delete(self, index: int, raw: Any) -> Outcome:
        """Forget the user of a `delete` message."""
        try:
            message = Message(raw, self._options)
            if message.user_id is None:
                message.problem("userId", "is missing: it says who is to be forgotten")
            message.check()
            self.forget(message.user_id or "", message.id)
        except MappingError as error:
            return Outcome.of_error(index, error)
        return Outcome(index=index, message_id=message.id, kind=OutcomeKind.QUEUED)

    def forget(self, user_id: str, message_id: str | None = None) -> Forgotten:
        """See `KochavaDestination.forget`."""
        with self.outbox.file.writing() as cursor:
            devices = [_device(known) for known in self.directory.devices_in(cursor, user_id)]
            keys = [device.ordering_key for device in devices]
            discarded = discard_user(cursor, user_id, keys, _FORGOTTEN)
            forgotten = self.directory.forget(cursor, user_id)
            requests = (
                deletion.data_subject_request(device, self._options, message_id)
                for device in devices
            )
            new = self.outbox.put_in(
                cursor,
                [NewEntry(request=request, per_device=True) for request in requests if request],
            )
        self.wake()
        return Forgotten(devices=forgotten, discarded=discarded, deletion_requests=sum(new))

    def close(self, timeout: float = 5.0) -> None:
        """Let the relay finish what it is posting, and close the file."""
        self._closed = True
        self.relay.stop(timeout)
        with contextlib.suppress(OutboxError):
            self.outbox.close()


@frozen(kw_only=True)
class _Prepared:
    """What a message becomes, and whose device it tells of."""

    entries: tuple[NewEntry, ...]
    device: Device | None = None
    user_id: str | None = None
    anonymous_id: str | None = None


class _Group:
    """Messages that are stored in one transaction, and whose devices they tell of."""

    def __init__(self) -> None:
        self.prepared: list[tuple[int, _Prepared]] = []
        self.owners: set[str | None] = set()

    def add(self, index: int, one: _Prepared) -> None:
        """Add what a message becomes."""
        self.prepared.append((index, one))
        if one.device is not None:
            self.owners |= {one.user_id, one.anonymous_id}

    def take(self) -> list[tuple[int, _Prepared]]:
        """All of them; the group is empty then."""
        prepared, self.prepared, self.owners = self.prepared, [], set()
        return prepared


def _named_device(message: Message) -> Device | None:
    """The device that a message names, None where it names none."""
    try:
        device = identify_device(message)
    except ConfigurationError:  # Engage names no platform; the directory knows which app it is
        return None
    return device if device.known_ids else None


def _device(known: KnownDevice) -> Device:
    return Device(
        platform=known.platform,
        app_guid=known.app_guid,
        kochava_device_id=known.kochava_device_id,
        device_ids=known.device_ids,
    )


def _get(item: object, key: str) -> object:
    """A value of a message, None where there is none, or no message that can be read."""
    if type(item) is dict:  # any other may raise what it likes
        return item.get(key)
    try:
        return item.get(key) if isinstance(item, Mapping) else None
    except Exception:  # noqa: BLE001  # mapping it will say what is wrong
        return None


def stop_on_sigterm(relay: Relay) -> None:
    """Have SIGTERM stop a relay before it ends the process as it would have without this.

    Does nothing outside of the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGTERM)

    def stop_and_pass_on() -> None:
        relay.stop()
        os.kill(os.getpid(), signal.SIGTERM)

    def handle(_number: int, _frame: FrameType | None) -> None:
        # Not here: the thread that is interrupted may hold the very locks that stopping needs.
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
        threading.Thread(target=stop_and_pass_on, name="kochava-stop", daemon=True).start()

    signal.signal(signal.SIGTERM, handle)
