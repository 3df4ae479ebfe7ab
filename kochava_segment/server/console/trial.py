"""A message on trial: what it becomes with which options, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from kochava_segment import option_kinds as kinds
from kochava_segment.errors import (
    ConfigurationError,
    EventFiltered,
    EventNotSupported,
    MappingError,
    Problem,
)
from kochava_segment.mapping.explain import Explanation, explain
from kochava_segment.options import Options
from kochava_segment.request import MappingWarning
from kochava_segment.server.answers import Refusal
from kochava_segment.server.body import parse_json
from kochava_segment.server.console.forms import Form

PREFIX = "option."
"""Of the names of form fields that are options."""

MAX_MESSAGE_BYTES = 64 * 1024
"""Of a message on trial. Segment takes 32 KB; what is far longer takes long to explain."""

_TRIED = (
    "app_guid screens nested event_names send_user_id user_id_name allow_properties deny_properties "
    "identity_traits hash_traits required_consent ad_user_data_consent ad_personalization_consent "
    "require_device_id encode_user_agent"
).split()
# What decides about the request as well, and is not for trying.
_KEPT = ("app_guids", "endpoint", "api_key", "api_secret")
_FIELDS = attrs.fields_dict(Options)


@frozen(kw_only=True)
class OptionField:
    """An option as a form field.

    Attributes:
        name: Its name.
        description: What it means.
        written: How it is written.
        text: What stands in the field: "true" or "" where it is a flag.
        choices: The words to choose from, where there are some.
        flag: It is ticked or not.
        changed: It differs from the configuration.
        problem: What is wrong with it.
    """

    name: str
    description: str
    written: str
    text: str
    choices: Sequence[str]
    flag: bool
    changed: bool
    problem: str


@frozen(kw_only=True)
class FieldRow:
    """A field of the request as it is shown: what was explained, and the warnings about it."""

    path: str
    value: str
    sources: Sequence[str]
    rule: str
    warnings: Sequence[MappingWarning]

    @property
    def parent(self) -> str:
        """All of the path but its last name."""
        return self.path[: len(self.path) - len(self.name)]

    @property
    def name(self) -> str:
        """The last name of the path."""
        return self.path.rpartition(".")[2]


@frozen(kw_only=True)
class Trial:
    """What came of a message.

    Attributes:
        text: What was entered.
        message: The same, decoded; None where it cannot be read.
        options: The options it was mapped with; None where they are wrong.
        fields: All options that can be tried.
        outcome: `empty`, `unreadable`, `misconfigured`, `mapped`, `filtered`, `unsupported` or `invalid`.
        reason: Why it was not mapped, as a sentence.
        code: Segment's word for it, where it was filtered.
        problems: What is wrong with which paths.
        raised: The name of the error that `map` raises, where it was not mapped.
        explanation: The request and where its fields came from, where it was mapped.
    """

    text: str
    message: Any = None
    options: Options | None = None
    fields: Sequence[OptionField] = ()
    outcome: str = "empty"
    reason: str = ""
    code: str = ""
    problems: Sequence[Problem] = ()
    raised: str = ""
    explanation: Explanation | None = None

    @property
    def rows(self) -> list[FieldRow]:
        """The fields of the request, each with the warnings that are about it."""
        if self.explanation is None:
            return []
        warnings = self.explanation.request.warnings
        return [
            FieldRow(
                path=field.field,
                value=json.dumps(field.value, ensure_ascii=False),
                sources=field.sources,
                rule=field.rule,
                warnings=[one for one in warnings if one.field in (field.field, *field.sources)],
            )
            for field in self.explanation.fields
        ]

    @property
    def other_warnings(self) -> list[MappingWarning]:
        """The warnings that are about no field that is sent."""
        if self.explanation is None:
            return []
        shown = {id(warning) for row in self.rows for warning in row.warnings}
        return [one for one in self.explanation.request.warnings if id(one) not in shown]

    @property
    def body(self) -> str:
        """The body of the request, for reading."""
        if self.explanation is None:
            return ""
        return json.dumps(self.explanation.request.payload, indent=2, ensure_ascii=False)


def try_message(text: str, form: Form, configured: Options) -> Trial:
    """Map a message with the options that a form has.

    Args:
        text: The message as JSON.
        form: Has the options under their names with `PREFIX`; without any, the configured ones hold.
        configured: The options of the destination.
    """
    given = f"{PREFIX}tried" in form
    texts = {
        name: form.get(PREFIX + name).strip() if given else as_text(configured, name)
        for name in _TRIED
    }
    options, problems = _options(texts, configured)
    trial = Trial(text=text, options=options, fields=_option_fields(texts, configured, problems))
    if not text.strip():
        return trial
    content = text.encode("utf-8", "surrogatepass")
    if len(content) > MAX_MESSAGE_BYTES:
        reason = f"it has {len(content):,} bytes; {MAX_MESSAGE_BYTES:,} are tried, and Segment takes 32 KB"
        return attrs.evolve(trial, outcome="unreadable", reason=reason)
    try:
        message = parse_json(content)
    except Refusal as refusal:
        reason = refusal.detail.replace("the body", "the message")
        return attrs.evolve(
            trial, outcome="unreadable", reason=reason, problems=list(refusal.problems)
        )
    trial = attrs.evolve(trial, message=message)
    if options is None:
        return attrs.evolve(trial, outcome="misconfigured", problems=problems)
    return _mapped(trial, message, options)


def _mapped(trial: Trial, message: Any, options: Options) -> Trial:
    try:
        return attrs.evolve(trial, outcome="mapped", explanation=explain(message, options))
    except (MappingError, ConfigurationError) as error:
        stopped = attrs.evolve(trial, raised=type(error).__name__)
        if isinstance(error, EventFiltered):
            return attrs.evolve(
                stopped, outcome="filtered", code=error.reason.value, reason=error.detail
            )
        if isinstance(error, EventNotSupported):
            return attrs.evolve(stopped, outcome="unsupported", reason=error.detail)
        return attrs.evolve(stopped, outcome="invalid", problems=getattr(error, "problems", ()))


def _options(texts: Mapping[str, str], configured: Options) -> tuple[Options | None, list[Problem]]:
    values: dict[str, Any] = {name: getattr(configured, name) for name in _KEPT}
    problems: list[Problem] = []
    for name, text in texts.items():
        kind: kinds.Kind = _FIELDS[name].metadata["kind"]
        if kind is kinds.FLAG:
            values[name] = text == "true"
        elif text and kind.parse is not None:
            try:
                values[name] = kind.parse(text)
            except ValueError as error:
                problems.append(Problem(name, str(error)))
    try:
        options = Options.load(values)
    except ConfigurationError as error:
        return None, [*problems, *error.problems]
    return (None, problems) if problems else (options, [])


def _option_fields(
    texts: Mapping[str, str], configured: Options, problems: Sequence[Problem]
) -> list[OptionField]:
    wrong = {problem.path: problem.detail for problem in problems}
    fields = []
    for name, text in texts.items():
        kind: kinds.Kind = _FIELDS[name].metadata["kind"]
        flag = kind is kinds.FLAG
        fields.append(
            OptionField(
                name=name,
                description=_FIELDS[name].metadata["description"],
                written=kind.written,
                text=text,
                choices=kind.written.split(" | ") if " | " in kind.written and not flag else (),
                flag=flag,
                changed=text != as_text(configured, name),
                problem=wrong.get(name, ""),
            )
        )
    return fields


def as_text(options: Options, name: str) -> str:
    """An option as it is written in a form."""
    value = getattr(options, name)
    if value is None or value is False:
        return ""
    if value is True:
        return "true"
    if isinstance(value, Mapping):
        pairs = [f"{key}={item}" for key, item in value.items()]
        plain = not any("," in pair or pair.count("=") != 1 for pair in pairs)
        return ", ".join(pairs) if plain else json.dumps(dict(value), ensure_ascii=False)
    if isinstance(value, tuple):
        plain = not any("," in item or item != item.strip() for item in value)
        return ", ".join(value) if plain else json.dumps(value, ensure_ascii=False)
    return str(value)


def changed_options(options: Options) -> dict[str, Any]:
    """The options for trying that differ from their defaults, as Python values."""
    found = {}
    for name in (*_TRIED, "app_guids"):
        value = getattr(options, name)
        default = _FIELDS[name].default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class all the same
            default = {}
        if value != default:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found
