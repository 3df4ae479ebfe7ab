"""Where each Kochava field of a request came from. For people debugging, not for the hot path.

The mapping itself is not instrumented: each field is built once more over a message that notes
which of its paths are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import frozen

from kochava_segment.mapping.device import CIRCUMSTANCES, DEVICE_AND_TIME, Field
from kochava_segment.mapping.event import feeding_property, sendable_user_id
from kochava_segment.mapping.identifiers import (
    Device,
    find_device_ids,
    find_kochava_device_id,
    identify_device,
)
from kochava_segment.mapping.identify import traits_to_link
from kochava_segment.mapping.mapper import find_screen_name, map_message
from kochava_segment.mapping.message import Message
from kochava_segment.mapping.paths import join
from kochava_segment.mapping.standard_events import KEYS_BY_NAME, RESERVED_KEYS, RawKey
from kochava_segment.options import Options
from kochava_segment.printable import printable
from kochava_segment.request import KochavaRequest


@frozen(kw_only=True)
class ExplainedField:
    """One field of a Kochava request.

    Attributes:
        field: Its path in the payload, such as `data.device_ids.idfa`.
        value: What is sent.
        sources: The paths in the Segment message that it came from, such as
            `context.device.advertisingId`; empty where nothing in the message gave it.
        rule: The rule that made it, in a sentence.
    """

    field: str
    value: Any
    sources: tuple[str, ...]
    rule: str


@frozen(kw_only=True)
class LeftOut:
    """A Kochava field, or a property or trait of the message, that is not sent.

    Attributes:
        name: The Kochava field (`data.currency`), or the path in the message (`properties.email`).
        reason: Why, in a sentence.
    """

    name: str
    reason: str


@frozen(kw_only=True)
class Explanation:
    """A request, and where each of its fields came from. `str()` gives a text for reading.

    Attributes:
        request: The request, as `map` gives it.
        fields: Its fields, in the order in which they are sent.
        left_out: What is not sent, and why.
    """

    request: KochavaRequest
    fields: tuple[ExplainedField, ...]
    left_out: tuple[LeftOut, ...]

    def __str__(self) -> str:
        lines = [f"{self.request.action} → {self.request.url}", ""]
        for field in self.fields:
            lines.append(f"{field.field} = {field.value!r}")
            if field.sources:
                lines.append(f"    from {', '.join(field.sources)}")
            lines.append(f"    {field.rule}")
        if self.left_out:
            lines += ["", "Left out:"]
            lines += [f"{item.name}: {item.reason}" for item in self.left_out]
        if self.request.warnings:
            lines += ["", "Warnings:"]
            lines += [
                f"{warning.code}: {warning.field} {warning.detail}"
                for warning in self.request.warnings
            ]
        # Names of properties come from strangers; values are written as Python does already.
        return "\n".join(map(printable, lines))


def explain(raw: Mapping[str, Any], options: Options) -> Explanation:
    """See `KochavaDestination.explain`."""
    request = map_message(raw, options)
    explainer = _Explainer(raw, options, request)
    fields = tuple(explainer.fields())
    return Explanation(request=request, fields=fields, left_out=tuple(explainer.left_out()))


_ROOT_RULES = {
    "action": "From the type of the message: an install is the track Application Installed.",
    "app_ver": "Installs only: the same as data.app_version.",
    "kochava_app_id": "integrations.Kochava.app_guid, else the option app_guids by "
    "context.app.namespace or platform, else the option app_guid.",
    "kochava_device_id": "integrations.Kochava.kochava_device_id, else context.device.id, else "
    "anonymousId.",
}
_EVENT_NAME_RULE = (
    "The option event_names, else the table of standard events, else the event's own name."
)
_CURRENCY_RULE = "properties.currency in upper case; USD where there is a price without a currency."
_COPIED = "Copied from properties."
_RENAMED = "Copied from properties, renamed since Kochava reserves the name."
_TRAIT_RULE = (
    "Engage's computed trait, or listed in identity_traits; hashed if hash_traits says so."
)
_PRESET_RULE = "Set for screens and pages."


class _Explainer:
    def __init__(self, raw: Mapping[str, Any], options: Options, request: KochavaRequest) -> None:
        self._raw = raw
        self._options = options
        self._action = request.action
        self._screens = options.screens if raw.get("type") in {"screen", "page"} else None
        self._payload = request.payload
        self._warnings = {warning.field: warning.detail for warning in request.warnings}
        self._device = identify_device(Message(raw, options))

    def fields(self) -> Iterator[ExplainedField]:
        for key, value in self._payload.items():
            if key == "data":
                yield from self._data(value)
            elif key == "device_id":
                yield from self._leaves(
                    key, value, self._read_device_ids(), DEVICE_AND_TIME[0].rule
                )
            elif key == "kochava_app_id":
                yield self._field(key, value, self._app_guid_source(), _ROOT_RULES[key])
            else:
                reads = self._reads(_ROOT_READERS.get(key))
                yield from self._leaves(key, value, reads, _ROOT_RULES[key])

    def left_out(self) -> Iterator[LeftOut]:
        if self._action == "identity_link":
            yield from self._traits_left_out()
            return
        for field in (*DEVICE_AND_TIME, *CIRCUMSTANCES):
            if field.key not in self._payload["data"]:
                yield LeftOut(name=f"data.{field.key}", reason=self._why_missing(field))
        if self._action == "event":
            yield from self._properties_left_out()

    def _data(self, data: Mapping[str, Any]) -> Iterator[ExplainedField]:
        if self._action == "identity_link":
            yield from self._identities(data)
            return
        table = {field.key: field for field in (*DEVICE_AND_TIME, *CIRCUMSTANCES)}
        for key, value in data.items():
            path = f"data.{key}"
            if key == "event_data":
                yield from self._event_data(value)
            elif key == "event_name":
                sources = self._screen_name_source() if self._screens else ("event",)
                yield self._field(path, value, sources, _EVENT_NAME_RULE)
            elif key == "currency":
                yield self._field(path, value, self._given("currency"), _CURRENCY_RULE)
            else:
                reads = self._read_device_ids() if key == "device_ids" else self._build(table[key])
                yield from self._leaves(path, value, reads, table[key].rule)

    def _event_data(self, event_data: Mapping[str, Any]) -> Iterator[ExplainedField]:
        for key, value in event_data.items():
            sources, rule = self._event_data_source(key)
            yield self._field(f"data.event_data.{key}", value, sources, rule)

    def _event_data_source(self, key: str) -> tuple[tuple[str, ...], str]:
        properties = self._raw.get("properties") or {}
        if self._screens == "view" and key in {"content_type", "name"}:
            return self._screen_name_source() if key == "name" else (), _PRESET_RULE
        raw_key = self._raw_keys().get(key)
        if raw_key is not None and key not in properties:
            return self._raw_key_source(raw_key, properties)
        reserved = key.removeprefix("segment_")
        if key not in properties and reserved in RESERVED_KEYS:
            return (join("properties", reserved),), _RENAMED
        if key == "currency" and (raw_key is not None or key not in properties):
            return self._given(key), _CURRENCY_RULE
        if key in properties:
            return (join("properties", key),), _COPIED
        nested = [name for name in properties if key.startswith(f"{name}_")]
        return (join("properties", max(nested, key=len)),), "Flattened from properties."

    def _raw_key_source(
        self, raw_key: RawKey, properties: Mapping[str, Any]
    ) -> tuple[tuple[str, ...], str]:
        rule = raw_key_rule(raw_key)
        feeding = feeding_property(raw_key, properties)
        if feeding is not None:
            return (join("properties", feeding),), rule
        if raw_key.products and "products" in properties:
            return ("properties.products",), rule
        if raw_key.message_field is not None:
            return (raw_key.message_field,), rule
        return (), _CURRENCY_RULE if raw_key.key == "currency" else rule

    def _identities(self, data: Mapping[str, str]) -> Iterator[ExplainedField]:
        message = Message(self._raw, self._options)
        linked = traits_to_link(message)
        user_id = sendable_user_id(message)
        for name, value in data.items():
            if name == self._options.user_id_name and user_id is not None:
                yield self._field(f"data.{name}", value, ("userId",), "The message's userId.")
            elif name in linked:
                yield self._field(f"data.{name}", value, (join("traits", name),), _TRAIT_RULE)

    def _raw_keys(self) -> dict[str, RawKey]:
        name = self._payload["data"].get("event_name", "")
        return {raw_key.key: raw_key for raw_key in KEYS_BY_NAME.get(name, ())}

    def _properties_left_out(self) -> Iterator[LeftOut]:
        sent = self._payload["data"].get("event_data", {})  # A signed body has no empty objects.
        fed = {
            source: key
            for key in sent
            for source in self._event_data_source(key)[0]
            if key != source.rpartition(".")[2]
        }
        options = self._options
        for name in self._raw.get("properties") or {}:
            path = join("properties", name)
            if name in sent:
                continue
            if name in options.denied:
                reason = "listed in deny_properties"
            elif options.allow_properties is not None and name not in options.allowed:
                reason = "not listed in allow_properties"
            elif path in fed:
                reason = f"became event_data.{fed[path]}"
            else:
                reason = self._warnings.get(path, "nested, and nested says what becomes of it")
            yield LeftOut(name=path, reason=reason)

    def _traits_left_out(self) -> Iterator[LeftOut]:
        for name in self._raw.get("traits") or {}:
            if name not in self._payload["data"]:
                path = join("traits", name)
                reason = "neither Engage's own nor listed in identity_traits"
                yield LeftOut(name=path, reason=self._warnings.get(path, reason))

    def _why_missing(self, field: Field) -> str:
        message, reads = self._traced_message()
        field.build(message, self._device)
        if message.notes.warnings:
            return "; ".join(
                f"{warning.field} {warning.detail}" for warning in message.notes.warnings
            )
        if not reads:
            return f"it does not apply here. {field.rule}"
        return f"nothing to use at {', '.join(reads)}. {field.rule}"

    # Reads: the paths of scalar values that were looked at, with what stood there.

    def _traced_message(self) -> tuple[Message, dict[str, Any]]:
        reads: dict[str, Any] = {}
        message = Message(_Traced(self._raw, "", reads), self._options)
        message.action = self._action
        reads.clear()  # of what every message reads
        return message, reads

    def _reads(self, read: Callable[[Message, Device], object] | None) -> dict[str, Any]:
        if read is None:
            return {}
        message, reads = self._traced_message()
        read(message, self._device)
        odd = {warning.field for warning in message.notes.warnings}
        return {path: value for path, value in reads.items() if path not in odd}

    def _build(self, field: Field) -> dict[str, Any]:
        return self._reads(field.build)

    def _read_device_ids(self) -> dict[str, Any]:
        return self._reads(lambda message, device: find_device_ids(message, device.platform))

    def _leaves(
        self, path: str, value: Any, reads: Mapping[str, Any], rule: str
    ) -> Iterator[ExplainedField]:
        """One explanation for each scalar of a field: by the read with its value, else by all."""
        leaves = dict(_scalars(path, value))
        given = {read: _text(found) for read, found in reads.items() if found not in (None, "")}
        exact = {
            leaf: next((read for read, found in given.items() if found == _text(scalar)), None)
            for leaf, scalar in leaves.items()
            if scalar != ""
        }
        rest = tuple(read for read in given if read not in exact.values())
        for leaf, scalar in leaves.items():
            source = exact.get(leaf)
            sources = () if scalar == "" else rest if source is None else (source,)
            yield self._field(leaf, scalar, sources, rule)

    def _app_guid_source(self) -> tuple[str, ...]:
        message = Message(self._raw, self._options)
        namespace = message.app.text("namespace")
        if message.kochava.text("app_guid"):
            return ("integrations.Kochava.app_guid",)
        return ("context.app.namespace",) if namespace in self._options.app_guids else ()

    def _given(self, name: str) -> tuple[str, ...]:
        return (f"properties.{name}",) if (self._raw.get("properties") or {}).get(name) else ()

    def _screen_name_source(self) -> tuple[str, ...]:
        if self._screens != "named" and "name" not in self._payload["data"].get("event_data", {}):
            return ()
        reads = self._reads(lambda message, _: find_screen_name(message))
        return tuple(path for path, name in reads.items() if name)[-1:]

    @staticmethod
    def _field(path: str, value: Any, sources: tuple[str, ...], rule: str) -> ExplainedField:
        return ExplainedField(field=path, value=value, sources=sources, rule=rule)


_ROOT_READERS: dict[str, Callable[[Message, Device], object]] = {
    "app_ver": CIRCUMSTANCES[3].build,
    "kochava_device_id": lambda message, _: find_kochava_device_id(message),
}


def raw_key_rule(raw_key: RawKey) -> str:
    """What feeds a raw key, in a sentence; for documentation and `explain`."""
    sources = [f"properties.{name}" for name in raw_key.feeding]
    if raw_key.products:
        how = "summed" if raw_key.number else "joined with commas"
        sources.append(f"products[].{' or '.join(raw_key.products)} {how}")
    if raw_key.message_field is not None:
        sources.append(raw_key.message_field)
    number = "; as a number" if raw_key.number else ""
    return f"{', else '.join(sources)}{number}."


class _Traced(Mapping[str, Any]):
    """A message that notes the paths at which scalar values were looked for."""

    def __init__(self, values: Mapping[str, Any], path: str, reads: dict[str, Any]) -> None:
        self._values = values
        self._path = path
        self._reads = reads

    def __getitem__(self, key: str) -> Any:
        path = join(self._path, key)
        value = self._values.get(key)
        if isinstance(value, Mapping):
            return _Traced(value, path, self._reads)
        self._reads[path] = value
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _scalars(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _scalars(f"{path}.{key}", item)
    else:
        yield path, value


def _text(value: object) -> str:
    return str(value).strip().casefold()
