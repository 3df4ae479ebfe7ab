"""What all destinations have in common: their options, and the mapping, which is pure."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve
from typing_extensions import Self, Unpack

from kochava_segment.delivery.signing import Credentials, auth_headers
from kochava_segment.delivery.steps import Steps
from kochava_segment.errors import InvalidEventPayload, KochavaSegmentError, Problem
from kochava_segment.mapping import apple_search_ads, install_attribution, mapper
from kochava_segment.options import OptionKeywords, Options
from kochava_segment.outcome import Outcome, Receipt
from kochava_segment.request import KochavaRequest

if TYPE_CHECKING:
    from kochava_segment.mapping.explain import Explanation


class BaseDestination:
    """Maps Segment messages to Kochava requests. Delivering them is up to its children."""

    __slots__ = ("_credentials", "_options")

    _credentials: Credentials | None
    _options: Options

    def __init__(self, app_guid: str | None = None, **options: Unpack[OptionKeywords]) -> None:
        self._start(Options.load({"app_guid": app_guid, **options}))

    @classmethod
    def from_config(
        cls, path: str | Path, app_guid: str | None = None, **options: Unpack[OptionKeywords]
    ) -> Self:
        """A destination with the options of a TOML file.

        Keywords win over `KOCHAVA_SEGMENT_*` environment variables, those win over the file.

        Args:
            path: The TOML file; options by name at its top level, see docs/options.md.
            app_guid: As for the class.
            **options: As for the class.

        Raises:
            ConfigurationError: with everything that is wrong, also if the file cannot be read.
        """
        keywords = {"app_guid": app_guid, **options}
        return cls._of(Options.load(keywords, environment=os.environ, file=path))

    @classmethod
    def from_env(cls, app_guid: str | None = None, **options: Unpack[OptionKeywords]) -> Self:
        """A destination with the options of `KOCHAVA_SEGMENT_*` environment variables.

        Args:
            app_guid: As for the class.
            **options: As for the class; keywords win over the environment.

        Raises:
            ConfigurationError: with everything that is wrong.
        """
        return cls._of(Options.load({"app_guid": app_guid, **options}, environment=os.environ))

    @classmethod
    def _of(cls, options: Options) -> Self:
        destination = cls.__new__(cls)
        destination._start(options)  # noqa: SLF001  # a constructor
        return destination

    def _start(self, options: Options) -> None:
        """Set it up; children go on from here."""
        credentials = None
        if options.api_key is not None and options.api_secret is not None:
            credentials = Credentials(options.api_key, options.api_secret)
        self._set(_options=options, _credentials=credentials)

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __repr__(self) -> str:
        if not hasattr(self, "_options"):  # error reporters show what could not be made, too
            return f"<{type(self).__name__}: its options are wrong>"
        guid = self._options.app_guid
        # Enough of it to tell two apps apart, too little to send in their name.
        masked = None if guid is None else f"{guid[: min(6, len(guid) // 3)]}…"
        return f"{type(self).__name__}({masked!r}, endpoint={self._options.endpoint!r})"

    @property
    def options(self) -> Options:
        """The options, as they were checked at construction."""
        return self._options

    # Pure: nothing of this leaves the process.

    def map(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The Kochava request that a Segment message becomes, whatever its type.

        Args:
            message: A Segment message (common fields: https://segment.com/docs/connections/spec/).
                It is not changed.

        Returns:
            The request; equal messages give equal bytes. Oddities are in its `warnings`.

        Raises:
            InvalidEventPayload: if the message is malformed; `problems` has every path.
            EventNotSupported: if Kochava has nothing like it (group, alias, delete).
            EventFiltered: if it is not meant for Kochava; `reason` says why.
            ConfigurationError: if no option gives an App GUID for it.
        """
        return self._signed(mapper.map_message(message, self._options))

    def track(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The event or install that a track message becomes.

        Application Installed becomes an install, everything else an event; standard events get
        Kochava's names and keys (Kochava, *Post-Install Event Examples*).

        Args:
            message: A Segment message of type `track`.

        Raises:
            MappingError: as `map`; InvalidEventPayload also if it is of another type.
        """
        return self._signed(mapper.map_as(("track",), message, self._options))

    def identify(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The IdentityLink that an identify message becomes (Kochava, *IdentityLink Setup*).

        It links the device with `userId`, with Engage's computed trait or audience, and with the
        traits in `identity_traits`.

        Args:
            message: A Segment message of type `identify`.

        Raises:
            MappingError: as `map`; InvalidEventPayload also if it is of another type.
        """
        return self._signed(mapper.map_as(("identify",), message, self._options))

    def screen(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The event that a screen or page message becomes; the option `screens` decides.

        Args:
            message: A Segment message of type `screen` or `page`.

        Raises:
            MappingError: as `map`; EventFiltered with SCREENS_OFF unless `screens` is set.
        """
        return self._signed(mapper.map_as(("screen", "page"), message, self._options))

    def idfa_update(self, message: Mapping[str, Any]) -> KochavaRequest:
        """The `update` request that tells Kochava of an IDFA that was allowed after the install.

        Seen in one sender only, not in Kochava's articles; `map` never chooses it.

        Args:
            message: Any Segment message whose device has an advertising id that can be trusted.

        Raises:
            InvalidEventPayload: if it has none, or no id of the app instance.
            MappingError: as `map`.
        """
        return self._signed(mapper.map_idfa_update(message, self._options))

    def explain(self, message: Mapping[str, Any]) -> Explanation:
        """The request of a message with the source and rule of each field, and what is left out.

        For people debugging: it maps the message several times over.

        Args:
            message: A Segment message of any type.

        Raises:
            MappingError: as `map`.
        """
        from kochava_segment.mapping.explain import explain  # noqa: PLC0415  # for people, not for all

        explanation = explain(message, self._options)
        return evolve(explanation, request=self._signed(explanation.request))

    def apple_search_ads_context(self, attribution: Mapping[str, Any]) -> dict[str, Any]:
        """Apple Search Ads attribution as a fragment of Segment's `context`.

        Args:
            attribution: The iAd dictionary, with or without "Version3.1", or an answer of Apple's
                AdServices API.

        Returns:
            `{"campaign": {...}}` with string values, the keys those of Segment's middleware
            analytics-ios-iads-attribution; an empty dict if the install is not attributed.

        Raises:
            InvalidEventPayload: if it is not an object of strings, numbers and booleans.
        """
        return apple_search_ads.apple_search_ads_context(attribution)

    def install_attribution(
        self, postback: Mapping[str, Any] | Iterable[tuple[str, Any]]
    ) -> dict[str, Any]:
        """Kochava's install postback as a Segment track message "Install Attributed".

        Args:
            postback: The parameters of the postback's query, form or JSON body: a mapping of names
                to values or lists of values, or (name, value) pairs. Letter case does not matter.
                The option `postback_fields` has their names (Kochava, *Create a Custom Postback*).

        Returns:
            A complete message for Segment's HTTP API (Segment, *Mobile spec: Install Attributed*).

        Raises:
            InvalidEventPayload: if it names no user and no device, or is not made of parameters.
            EventNotSupported: if it is the postback of something else than an install.
        """
        return install_attribution.install_attribution(postback, self._options.postback_fields)

    def _signed(self, request: KochavaRequest) -> KochavaRequest:
        if self._credentials is None:
            return request
        headers = {**request.headers, **auth_headers(request.body, self._credentials)}
        return evolve(request, headers=headers)

    def _prepare(self, index: int, item: object) -> Prepared:
        """Map a message in the caller's thread: its ordering key decides where it waits."""
        if isinstance(item, KochavaRequest):
            return index, item
        failure = item  # what a reader made of input that it could not read
        if not isinstance(failure, KochavaSegmentError):
            try:
                return index, self.map(item)  # type: ignore[arg-type]  # others are reported
            except KochavaSegmentError as error:
                failure = error
            except Exception as error:  # noqa: BLE001  # of a Mapping that cannot be read
                problem = Problem("$", f"cannot be read: it raised {type(error).__name__}")
                failure = InvalidEventPayload([problem])
        return index, Outcome.of_error(index, failure)


Prepared = tuple[int, KochavaRequest | Outcome]


def outcome_of(
    prepared: Prepared, steps_of: Callable[[KochavaRequest], Steps[Receipt]]
) -> Steps[Outcome]:
    """The steps of a prepared message, which come to its Outcome."""
    index, item = prepared
    if isinstance(item, Outcome):
        return item
    try:
        receipt = yield from steps_of(item)
    except KochavaSegmentError as error:
        return Outcome.of_error(index, error, item)
    return Outcome.of_receipt(index, receipt)


def deadline_in(within: float | None) -> float:
    """When so many seconds are over, as `time.monotonic()` counts; never for None."""
    return math.inf if within is None else time.monotonic() + within


def ordering_key(prepared: Prepared) -> str | None:
    """What sets the order of a prepared message; nothing for what is not to be sent."""
    item = prepared[1]
    return item.ordering_key if isinstance(item, KochavaRequest) else None
