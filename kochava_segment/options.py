"""Every option: its meaning, its kind, its default. Checked together, once, then frozen.

Options come as keywords, from `KOCHAVA_SEGMENT_*` environment variables and from a TOML file.
Keywords win over the environment, the environment wins over the file.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypedDict

import attrs
from attrs import frozen

from kochava_segment import option_kinds as kinds
from kochava_segment.delivery.async_transport import AsyncTransport
from kochava_segment.delivery.instrumentation import DeliveryHook, LoggingHook
from kochava_segment.delivery.retry import RetryPolicy
from kochava_segment.delivery.transport import Transport
from kochava_segment.errors import ConfigurationError, Problem
from kochava_segment.names import fold_name, is_personal_trait

TRANSPORTS = ("requests", "pycurl")
ENVIRONMENT_PREFIX = "KOCHAVA_SEGMENT_"
EMPTY = "is empty: fill the variable in, or unset it"
"""What is said of a variable that is set and blank: to take the default, such as the real Kochava for
an endpoint that was not filled in, would be found out late."""


@frozen(kw_only=True)
class PostbackFields:
    """Names of the parameters in your Kochava postback. Letter case does not matter.

    Macro names are chosen in Kochava's dashboard, so each of them can be replaced:
    `PostbackFields(network_name="media_source")`. The defaults are the names seen most often in
    Kochava's *Create a Custom Postback* article and its examples.
    """

    event_name: str = "event_name"
    network_name: str = "network_name"
    campaign_name: str = "campaign_name"
    campaign_id: str = "campaign_id"
    site_id: str = "site_id"
    sub_site_id: str = "sub_site_id"
    creative_id: str = "creative_id"
    click_date: str = "click_date"
    install_date: str = "install_date"
    idfa: str = "idfa"
    idfv: str = "idfv"
    adid: str = "adid"
    android_id: str = "android_id"
    kochava_device_id: str = "kochava_device_id"
    ip: str = "ip"
    user_agent: str = "user_agent"
    user_id: str = "user_id"
    anonymous_id: str = "anonymous_id"


class CommonKeywords(TypedDict, total=False):
    """The keywords of all destinations, for type checkers. `Options` documents each."""

    app_guids: Mapping[str, str]
    require_device_id: bool
    screens: Literal["off", "view", "named"]
    event_names: Mapping[str, str]
    send_user_id: bool
    allow_properties: Iterable[str]
    deny_properties: Iterable[str]
    nested: Literal["keep", "flatten", "drop"]
    encode_user_agent: bool
    required_consent: Iterable[str]
    ad_user_data_consent: str | None
    ad_personalization_consent: str | None
    identity_traits: Iterable[str]
    hash_traits: Mapping[str, str]
    user_id_name: str
    postback_fields: PostbackFields | Mapping[str, str]
    endpoint: str
    api_key: str | None
    api_secret: str | None
    timeout: float | tuple[float, float]
    retry: RetryPolicy | Mapping[str, object]
    max_rate: float | None
    hooks: Sequence[DeliveryHook]


class AsyncOptionKeywords(CommonKeywords, total=False):
    """The keywords of `AsyncKochavaDestination`, which has a transport of its own kind and no outbox."""

    transport: AsyncTransport | None


class OptionKeywords(CommonKeywords, total=False):
    """The keywords of `KochavaDestination`."""

    transport: Transport | Literal["requests", "pycurl"] | None
    outbox: str | Path | None
    durability: Literal["normal", "full"]
    dedup_window: float
    retention: float
    max_size: float
    when_full: Literal["drop_delivered", "refuse", "block"]
    relay: bool
    workers: int | None
    lease: float
    outbox_retry: RetryPolicy | Mapping[str, object]
    stop_on_sigterm: bool
    devices: bool
    devices_per_user: int
    devices_days: float
    account_id: str | None
    account_key: str | None
    account_app_ids: Mapping[str, str]
    privacy_endpoint: str


def _postback_fields(value: object) -> PostbackFields:
    if isinstance(value, PostbackFields):
        return value
    names = kinds.TEXT_MAPPING.check(value)
    known = [field.name for field in attrs.fields(PostbackFields)]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"has no field {', '.join(unknown)}; there are {', '.join(known)}")
    return PostbackFields(**names)


def _retry(value: object, default: RetryPolicy | None = None) -> RetryPolicy:
    if isinstance(value, RetryPolicy):
        return value
    if isinstance(value, Mapping):
        return RetryPolicy.from_mapping(value, default)
    raise ValueError("must be a RetryPolicy, or a mapping of its fields")


def _transport(value: object) -> Transport | str:
    if value in TRANSPORTS:
        return str(value)
    if isinstance(value, str) or not (
        callable(getattr(value, "send", None)) and callable(getattr(value, "close", None))
    ):
        words = " or ".join(TRANSPORTS)
        raise ValueError(f"must be {words}, or an object with send(request) and close()")
    return value  # type: ignore[return-value]  # a Protocol: the two methods are all it asks


def _hooks(value: object) -> tuple[DeliveryHook, ...]:
    methods = ("attempt", "retry_scheduled", "outcome")
    hooks = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(callable(getattr(hook, name, None)) for hook in hooks for name in methods):
        raise ValueError(f"must be a list of objects with the methods {', '.join(methods)}")
    return hooks


def _path(value: object) -> str:
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise ValueError("must be a path")
    return str(value)


_PATH = kinds.Kind(_path, str, "FILE")
_POSTBACK_FIELDS = kinds.Kind(_postback_fields, kinds.parse_mapping, "FIELD=PARAMETER,…")
_RETRY = kinds.Kind(_retry, kinds.parse_mapping, "FIELD=VALUE,…")
# Patient: an endpoint that is down for a weekend costs nothing.
_OUTBOX_RETRY = RetryPolicy(
    max_attempts=1_000, base=1.0, cap=600.0, deadline=3 * 24 * 3600.0, retry_after_cap=600.0
)
_PATIENT_RETRY = kinds.Kind(
    partial(_retry, default=_OUTBOX_RETRY), kinds.parse_mapping, "FIELD=VALUE,…"
)
_TRANSPORT = kinds.Kind(_transport, str.strip, " | ".join(TRANSPORTS))
_HOOKS = kinds.instance("a list of DeliveryHook", _hooks)


def _option(kind: kinds.Kind, default: Any, description: str, *, secret: bool = False) -> Any:
    """A field of `Options`; its metadata makes the help page, the docs and the command line."""
    metadata = {"kind": kind, "description": description, "secret": secret}
    if isinstance(default, dict):
        return attrs.field(factory=dict, metadata=metadata, repr=not secret)
    return attrs.field(default=default, metadata=metadata, repr=not secret)


# Without slots: with them, attrs needs a __getattr__ for cached properties, which slows down every read.
@frozen(kw_only=True, slots=False)
class Options:
    """All options of a destination. Build it with `Options.load`, which checks everything."""

    app_guid: str | None = _option(
        kinds.TEXT,
        None,
        "The Kochava App GUID that messages go to when nothing more specific is set.",
    )
    app_guids: Mapping[str, str] = _option(
        kinds.TEXT_MAPPING,
        {},
        "App GUIDs by app namespace (`context.app.namespace`) or by platform (`ios`, `android`).",
    )

    # Mapping
    require_device_id: bool = _option(
        kinds.FLAG, default=False, description="Refuse messages without any device id."
    )
    screens: Literal["off", "view", "named"] = _option(
        kinds.choice("off", "view", "named"),
        "off",
        "Screens and pages: filtered, the standard event View, or an event `screen view NAME`.",
    )
    event_names: Mapping[str, str] = _option(
        kinds.TEXT_MAPPING,
        {},
        "Kochava names for your events; they win over the built-in table.",
    )
    send_user_id: bool = _option(
        kinds.FLAG, default=True, description="Send `userId` (never one that is an e-mail address)."
    )
    allow_properties: tuple[str, ...] | None = _option(
        kinds.NAMES,
        None,
        "Send these properties only. Naming a personal one, such as `email`, lets it out in clear.",
    )
    deny_properties: tuple[str, ...] = _option(kinds.NAMES, (), "Never send these properties.")
    nested: Literal["keep", "flatten", "drop"] = _option(
        kinds.choice("keep", "flatten", "drop"),
        "keep",
        "Objects and lists in properties: kept, flattened to `a_b_0`, or left out.",
    )
    encode_user_agent: bool = _option(
        kinds.FLAG, default=False, description="URL-encode `device_ua`, as Kochava's table says."
    )
    required_consent: tuple[str, ...] = _option(
        kinds.NAMES,
        (),
        "Consent categories that must all be true; without consent in a message none is enforced.",
    )
    ad_user_data_consent: str | None = _option(
        kinds.TEXT, None, "The consent category that becomes `gdpr_privacy_consent.ad_user_data`."
    )
    ad_personalization_consent: str | None = _option(
        kinds.TEXT,
        None,
        "The consent category that becomes `gdpr_privacy_consent.ad_personalization`.",
    )
    identity_traits: tuple[str, ...] = _option(
        kinds.NAMES, (), "Traits that identify sends as identities; Engage's own go always."
    )
    hash_traits: Mapping[str, str] = _option(
        kinds.TEXT_MAPPING,
        {},
        "Traits that are hashed first: `email=sha256`. Personal traits are never sent in clear.",
    )
    user_id_name: str = _option(
        kinds.TEXT, "user_id", "The name under which identify sends `userId`."
    )
    postback_fields: PostbackFields = _option(
        _POSTBACK_FIELDS, PostbackFields(), "Parameter names of your Kochava install postback."
    )

    # Delivery
    endpoint: str = _option(
        kinds.ENDPOINT,
        "https://control.kochava.com",
        "Base URL of Kochava's S2S API; http for loopback addresses only.",
    )
    api_key: str | None = _option(
        kinds.SECRET, None, "Kochava API key for install authentication.", secret=True
    )
    api_secret: str | None = _option(
        kinds.SECRET, None, "The secret that belongs to the API key.", secret=True
    )
    timeout: tuple[float, float] = _option(
        kinds.TIMEOUT, (3.05, 10.0), "Seconds to wait for a connection, and for the whole answer."
    )
    retry: RetryPolicy = _option(
        _RETRY, RetryPolicy(), "How often, how long and after which failures to try again."
    )
    max_rate: float | None = _option(
        kinds.POSITIVE, None, "Requests a second, over all threads of a destination."
    )
    transport: Transport | str | None = _option(
        _TRANSPORT,
        None,
        "What posts the requests: a library, or a Transport of your own. By default pycurl where the "
        "extra `fast` is installed, else requests.",
    )
    hooks: tuple[DeliveryHook, ...] = _option(
        _HOOKS,
        attrs.Factory(lambda: (LoggingHook(),)),  # each counts for itself
        "Whom to tell of attempts, retries and outcomes.",
    )

    # Outbox
    outbox: str | None = _option(
        _PATH, None, "The SQLite file that `enqueue` stores requests in until they are delivered."
    )
    durability: Literal["normal", "full"] = _option(
        kinds.choice("normal", "full"),
        "normal",
        "What a stored request survives: the death of the process, or a power cut as well.",
    )
    dedup_window: float = _option(
        kinds.POSITIVE,
        24 * 3600.0,
        "Seconds in which a messageId is not sent again; Segment itself retries for 4 hours.",
    )
    retention: float = _option(
        kinds.POSITIVE, 30 * 24 * 3600.0, "Seconds for which failed messages are kept."
    )
    max_size: float = _option(kinds.POSITIVE, 4096.0, "Megabytes that the outbox file may use.")
    when_full: Literal["drop_delivered", "refuse", "block"] = _option(
        kinds.choice("drop_delivered", "refuse", "block"),
        "drop_delivered",
        "A full outbox: forgets the oldest delivered ones early and then refuses, refuses at once, or "
        "waits up to a minute for room.",
    )
    relay: bool = _option(
        kinds.FLAG,
        default=True,
        description="Drain the outbox in this process; turn it off where `kochava-segment relay` does.",
    )
    workers: int | None = _option(
        kinds.COUNT, None, "Requests that the relay posts at once. By default as many as pay off."
    )
    lease: float = _option(
        kinds.POSITIVE,
        10.0,
        "Seconds after which other relays take back what one that died had in flight.",
    )
    outbox_retry: RetryPolicy = _option(
        _PATIENT_RETRY,
        _OUTBOX_RETRY,
        "As `retry`, for what is in the outbox; its waits survive restarts.",
    )
    stop_on_sigterm: bool = _option(
        kinds.FLAG,
        default=False,
        description="Let SIGTERM stop the relay before it ends the process.",
    )
    devices: bool = _option(
        kinds.FLAG,
        default=False,
        description="Keep a directory of the devices of each user in the outbox file.",
    )
    devices_per_user: int = _option(kinds.COUNT, 5, "How many devices of a user it keeps.")
    devices_days: float = _option(
        kinds.POSITIVE, 400.0, "For how many days it keeps a device after it was last seen."
    )
    account_id: str | None = _option(
        kinds.TEXT, None, "Your Kochava account's number, for data subject requests (deletion)."
    )
    account_key: str | None = _option(
        kinds.SECRET, None, "The API key that belongs to the account.", secret=True
    )
    account_app_ids: Mapping[str, str] = _option(
        kinds.TEXT_MAPPING,
        {},
        "Kochava's numbers of your apps by App GUID; deletion is limited to the app where there is one.",
    )
    privacy_endpoint: str = _option(
        kinds.ENDPOINT,
        "https://nng.kochava.com",
        "Base URL of Kochava's data subject requests; http for loopback addresses only.",
    )

    @classmethod
    def load(
        cls,
        keywords: Mapping[str, object],
        *,
        environment: Mapping[str, str] | None = None,
        file: str | Path | None = None,
    ) -> Options:
        """Check all options together.

        Args:
            keywords: Options by name, as Python values. None stands for the default.
            environment: `KOCHAVA_SEGMENT_*` variables; others in it are ignored.
            file: A TOML file with options by name.

        Raises:
            ConfigurationError: with every problem, each under its option's name.
        """
        problems: list[Problem] = []
        values: dict[str, Any] = {}
        sources = (
            _from_file(file, problems) if file is not None else (),
            _from_environment(environment or {}, problems),
            ((name, value, "") for name, value in keywords.items()),
        )
        for source in sources:
            for name, value, origin in source:
                if name not in _KINDS:
                    problems.append(Problem(name, _unknown(name) + origin))
                elif value is not None:
                    try:
                        values[name] = _KINDS[name].check(value)
                    except ConfigurationError as error:
                        problems += error.problems
                    except ValueError as error:
                        problems.append(Problem(name, f"{error}{origin}"))
        problems += _conflicts(values)
        if problems:
            raise ConfigurationError(problems)
        return cls(**values)

    @cached_property
    def signed(self) -> bool:
        """Whether requests carry Kochava's authentication headers."""
        return self.api_key is not None

    @cached_property
    def folded_event_names(self) -> dict[str, str]:
        """`event_names` with the Segment names as `fold_name` gives them."""
        return {fold_name(name): kochava for name, kochava in self.event_names.items()}

    @cached_property
    def allowed(self) -> frozenset[str]:
        """`allow_properties` as a set; empty where there is no such list."""
        return frozenset(self.allow_properties or ())

    @cached_property
    def denied(self) -> frozenset[str]:
        """`deny_properties` as a set."""
        return frozenset(self.deny_properties)


_KINDS: dict[str, kinds.Kind] = {
    field.name: field.metadata["kind"] for field in attrs.fields(Options)
}

_Source = Iterator[tuple[str, object, str]]


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _KINDS, n=1)
    return f"is not an option{f'; did you mean {close[0]}?' if close else ''}"


def _from_environment(environment: Mapping[str, str], problems: list[Problem]) -> _Source:
    for variable in sorted(environment):
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        kind = _KINDS.get(name) if variable.startswith(ENVIRONMENT_PREFIX) else None
        # Commands have variables of their own under the same prefix, so unknown ones are no error.
        if kind is None or kind.parse is None:
            continue
        if not environment[variable].strip():
            if name not in _MAY_BE_EMPTY:
                problems.append(Problem(name, f"{EMPTY} (from {variable})"))
            continue
        try:
            yield name, kind.parse(environment[variable]), f" (from {variable})"
        except ValueError as error:
            problems.append(Problem(name, f"{error} (from {variable})"))


def _from_file(path: str | Path, problems: list[Problem]) -> _Source:
    try:
        values = _toml_loader()(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(Problem("config", f"cannot be read: {error.strerror}"))
    except ValueError as error:
        problems.append(Problem("config", f"is not valid TOML: {error}"))
    else:
        yield from (
            (name, value, " (from the configuration file)") for name, value in values.items()
        )


def _toml_loader() -> Callable[[str], dict[str, Any]]:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  # only who has a file pays for its parser

        return tomllib.loads
    try:
        import tomli  # noqa: PLC0415
    except ImportError:
        problem = Problem(
            "config", "needs tomli on Python 3.10: pip install 'kochava-segment[cli]'"
        )
        raise ConfigurationError([problem]) from None
    loads: Callable[[str], dict[str, Any]] = tomli.loads
    return loads


_TOGETHER = (("api_key", "api_secret"), ("account_id", "account_key"))
# As compose files pass them on, whether or not there are any. Where one is needed, Kochava says so.
_MAY_BE_EMPTY = frozenset(name for pair in _TOGETHER for name in pair)
_NEED_OUTBOX = ("devices", "stop_on_sigterm")


def _conflicts(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong between options that are each right."""
    for pair in _TOGETHER:
        missing = [name for name in pair if name not in values]
        if len(missing) == 1:
            yield Problem(missing[0], f"is missing: {pair[0]} and {pair[1]} go together")
    for name in _NEED_OUTBOX:
        if values.get(name) and "outbox" not in values:
            yield Problem(name, "needs an outbox: set the option outbox to a file")
    yield from _personal_conflicts(values)

    seen: dict[str, str] = {}
    for name, kochava in values.get("event_names", {}).items():
        if seen.setdefault(fold_name(name), kochava) != kochava:
            yield Problem("event_names", "has two Kochava names for one event")


def _personal_conflicts(values: Mapping[str, Any]) -> Iterator[Problem]:
    hashed: Mapping[str, str] = values.get("hash_traits", {})
    for trait, algorithm in hashed.items():
        if algorithm != "sha256":
            yield Problem("hash_traits", f"of {trait} must be sha256")
    for trait in values.get("identity_traits", ()):
        if is_personal_trait(trait) and trait not in hashed:
            detail = (
                f"lists {trait}, which is personal data: add hash_traits={{'{trait}': 'sha256'}}"
            )
            yield Problem("identity_traits", detail)
