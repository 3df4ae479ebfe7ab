"""Failures: what did not get through, why, and what a person does about it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from urllib.parse import urlencode

from attrs import evolve, frozen
from starlette.responses import Response, StreamingResponse

from kochava_segment.delivery import outbox_changes
from kochava_segment.delivery import outbox_inspection as inspection
from kochava_segment.delivery.outbox_history import count_entries
from kochava_segment.delivery.outbox_inspection import EntryFilter, OutboxEntry
from kochava_segment.destination import KochavaDestination
from kochava_segment.masking import shown_entry
from kochava_segment.plural import counted
from kochava_segment.server.answers import Refusal
from kochava_segment.server.console.forms import Form
from kochava_segment.server.console.guard import Visit
from kochava_segment.server.console.history import DeliveryHistory
from kochava_segment.server.console.pages import guarded

_ON_A_PAGE = 50
_MOST_PAGES = 200
_AGES = (
    ("", "any"),
    ("600", "10 min"),
    ("3600", "1 h"),
    ("21600", "6 h"),
    ("86400", "1 d"),
    ("604800", "7 d"),
)
_MENDED = (*inspection.FAILED_STATES, "waiting", "paused")
"""The states out of which an entry can be retried or discarded."""


@frozen(kw_only=True)
class Wanted:
    """Which entries a person wants to see, as it stands in the address or in a form."""

    states: tuple[str, ...]
    reason: str
    app: str
    older: str
    newer: str
    ids: tuple[int, ...]

    @classmethod
    def of(cls, form: Form) -> Wanted:
        """Read it. Without a state or a number, those that have failed are meant.

        Raises:
            Refusal: if any of it cannot be read: without it, more would be meant than was asked for.
        """
        ids, states = form.all("id"), form.all("state")
        older, newer = form.get("older"), form.get("newer")
        ages = dict(_AGES)
        if (
            not all(map(_is_number, ids))
            or not set(states) <= set(inspection.STATES)
            or not {older, newer} <= set(ages)
        ):
            raise Refusal(400, "there is no such state, number or age")
        return cls(
            states=states or (() if ids else inspection.FAILED_STATES),
            reason=form.get("reason").strip(),
            app=form.get("app").strip(),
            older=older,
            newer=newer,
            ids=tuple(map(int, ids)),
        )

    @classmethod
    def named(cls, form: Form) -> Wanted:
        """The same for changes, which need states or numbers.

        Raises:
            Refusal: if there are none, or any of it cannot be read.
        """
        if not form.all("id") and not form.all("state"):
            raise Refusal(400, "say which requests are meant")
        return cls.of(form)

    def filter(self) -> EntryFilter:
        """The same for the outbox."""
        return EntryFilter(
            states=self.states,
            reason=self.reason or None,
            app_guid=self.app or None,
            older_than=float(self.older) if self.older else None,
            newer_than=float(self.newer) if self.newer else None,
            ids=self.ids,
        )

    def pairs(self) -> list[tuple[str, str]]:
        """The same as names and values."""
        pairs = [("state", state) for state in self.states]
        pairs += [("id", str(number)) for number in self.ids]
        for name in ("reason", "app", "older", "newer"):
            if value := getattr(self, name):
                pairs.append((name, value))
        return pairs

    def described(self) -> list[tuple[str, str]]:
        """The same for reading."""
        ages = dict(_AGES)
        described = [
            ("State", ", ".join(self.states)),
            ("Request", ", ".join(map(str, self.ids))),
            ("Reason contains", self.reason),
            ("App GUID", self.app),
            ("Older than", ages[self.older] if self.older else ""),
            ("Newer than", ages[self.newer] if self.newer else ""),
        ]
        return [(name, text) for name, text in described if text]

    def query(self, **more: str | int) -> str:
        """The same as the query of an address."""
        return urlencode([*self.pairs(), *((name, str(value)) for name, value in more.items())])


class FailuresPage:
    """Lists requests, shows one, and mends.

    Args:
        destination: Whose outbox it is.
        history: Knows the latest attempts.
    """

    def __init__(self, destination: KochavaDestination, history: DeliveryHistory) -> None:
        self._destination = destination
        self._history = history

    def show(self, visit: Visit) -> Response:
        """The list."""
        wanted = Wanted.of(visit.query)
        page = visit.query.get("page", "1")
        number = min(int(page), _MOST_PAGES) if _is_number(page) and page != "0" else 1
        first = (number - 1) * _ON_A_PAGE
        found = inspection.entries(
            self._destination.outbox, wanted.filter(), limit=first + _ON_A_PAGE
        )
        shown = list(islice(found, first, None))
        count = count_entries(self._destination.outbox, wanted.filter())
        return visit.page(
            "failures.html",
            here="failures",
            wanted=wanted,
            states=inspection.STATES,
            mended=all(state in _MENDED for state in wanted.states),
            ages=_AGES,
            apps=sorted(self._apps() | {wanted.app} - {""}),
            entries=shown,
            count=count,
            first=first,
            number=number,
            more=first + len(shown) < count and number < _MOST_PAGES,
            now=time.time(),
        )

    def show_one(self, visit: Visit) -> Response:
        """One request, its identifiers cut short."""
        return self._one(visit, reveal=False)

    def reveal_one(self, visit: Visit) -> Response:
        """The same in full."""
        visit.log("reveals request %d", visit.request.path_params["id"])
        return self._one(visit, reveal=True)

    def _one(self, visit: Visit, *, reveal: bool) -> Response:
        number = visit.request.path_params["id"]
        which = EntryFilter(ids=(number,))
        entry = next(inspection.entries(self._destination.outbox, which, bodies=True), None)
        if entry is None:
            raise Refusal(404, f"the outbox has no request {number}, or no longer")
        payload = shown_entry(entry, reveal=reveal).get("payload")
        return visit.page(
            "failure.html",
            here="failures",
            entry=entry,
            payload=payload and json.dumps(payload, indent=2, ensure_ascii=False),
            revealed=reveal,
            mended=entry.state in _MENDED,
            attempts=self._history.attempts_of(entry.message_id, entry.action),
            began_at=self._history.began_at,
            now=time.time(),
        )

    def confirm(self, visit: Visit) -> Response:
        """Ask before something is done to entries."""
        verb = visit.query.get("do")
        if verb not in ("retry", "discard", "export"):
            raise Refusal(404, "there is nothing like that to be done")
        wanted = Wanted.of(visit.query)
        which = wanted.filter()
        outbox = self._destination.outbox
        ambiguous = inspection.FAILED_STATES[2]
        maybe = 0
        if not which.states or ambiguous in which.states:
            maybe = count_entries(outbox, evolve(which, states=(ambiguous,)))
        return visit.page(
            "failures_confirm.html",
            here="failures",
            verb=verb,
            wanted=wanted,
            count=count_entries(outbox, which),
            ambiguous=maybe,
        )

    def retry(self, visit: Visit) -> Response:
        """Send entries again."""
        wanted = Wanted.named(visit.form)
        count = outbox_changes.retry(self._destination.outbox, wanted.filter())
        if self._destination.options.relay:
            self._destination.start_relay()
        visit.log("retries %s", counted(count, "request"))
        return visit.redirect(
            f"/failures?{_without_ids(wanted)}", f"{counted(count, 'request')} will be sent again."
        )

    def discard(self, visit: Visit) -> Response:
        """Give up on entries."""
        wanted = Wanted.named(visit.form)
        count = outbox_changes.discard(
            self._destination.outbox, wanted.filter(), reason="discarded in the console"
        )
        visit.log("discards %s", counted(count, "request"))
        return visit.redirect(
            f"/failures?{_without_ids(wanted)}", f"{counted(count, 'request')} discarded."
        )

    def export(self, visit: Visit) -> Response:
        """Entries as JSON lines, identifiers cut short."""
        return self._exported(Wanted.of(visit.query), reveal=False)

    def export_revealed(self, visit: Visit) -> Response:
        """The same in full."""
        visit.log("exports requests in full")
        return self._exported(Wanted.named(visit.form), reveal=True)

    def _exported(self, wanted: Wanted, *, reveal: bool) -> Response:
        found = inspection.entries(self._destination.outbox, wanted.filter(), bodies=True)
        headers = {"Content-Disposition": 'attachment; filename="kochava-requests.jsonl"'}
        return guarded(
            StreamingResponse(
                _lines(found, reveal=reveal), headers=headers, media_type="application/x-ndjson"
            )
        )

    def _apps(self) -> set[str]:
        options = self._destination.options
        return {*filter(None, [options.app_guid]), *options.app_guids.values()}


def _lines(found: Iterator[OutboxEntry], *, reveal: bool) -> Iterator[bytes]:
    for entry in found:
        yield json.dumps(shown_entry(entry, reveal=reveal)).encode() + b"\n"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16


def _without_ids(wanted: Wanted) -> str:
    """Back to the list, from one as well."""
    return "" if wanted.ids else wanted.query()
