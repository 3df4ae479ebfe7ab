"""Writes the parts of the docs that the code knows best: `python docs/generate.py`.

A page says where a part goes: it stands between `<!-- generated: NAME -->` and `<!-- end -->`.
Diagrams are drawn into docs/images. The tests fail when anything is not what this script would write.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import advice_tables  # beside this file
import attrs
import command_line
import dashboard
import diagrams
import metrics_table
import observability_tables
import reference
import schema
from attrs import NOTHING, Factory

import kochava_segment
from kochava_segment import FilterReason, Options, PostbackFields, RetryPolicy, errors
from kochava_segment.emulator import rules_table
from kochava_segment.mapping import identifiers
from kochava_segment.mapping.device import CIRCUMSTANCES, DEVICE_AND_TIME
from kochava_segment.mapping.standard_events import (
    EVENTS_WITH_KEYS,
    RESERVED_KEYS,
    STANDARD_NAMES,
    RawKey,
)
from kochava_segment.option_kinds import FLAG, Kind
from kochava_segment.options import ENVIRONMENT_PREFIX

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).parent
PACKAGE = Path(kochava_segment.__file__).parent
_BLOCK = re.compile(
    r"(?P<head><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<tail>^<!-- end -->$)",
    re.DOTALL | re.MULTILINE,
)

# When each filter strikes; a new reason without a sentence here stops this script.
_FILTERS = {
    FilterReason.CONSENT: "`context.consent.categoryPreferences` is there and lacks a category of "
    "the option `required_consent`.",
    FilterReason.INTEGRATIONS: "`integrations.Kochava` is false; or it is absent and "
    "`integrations.All` is false.",
    FilterReason.LOOP: "A track Install Attributed whose `properties.provider` is Kochava.",
    FilterReason.SCREENS_OFF: "A screen or page, while the option `screens` is `off`.",
    FilterReason.NOTHING_TO_LINK: "An identify without a `userId` or trait that may be sent.",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def code(value: str) -> str:
    """A value as code."""
    return f"`{value}`"


def codes(values: Iterable[str]) -> str:
    """Values as code, with commas."""
    return ", ".join(map(code, values))


# The mapping


def _data_fields() -> str:
    rows = (
        (code(field.key), field.rule, field.missing) for field in (*DEVICE_AND_TIME, *CIRCUMSTANCES)
    )
    return table(("Field of `data`", "Where its value comes from", "Without one"), rows)


def _standard_events() -> str:
    rows = (
        (codes(event.segment_names), code(event.name), "; ".join(map(_raw_key, event.keys)))
        for event in EVENTS_WITH_KEYS
    )
    return table(("Segment event", "Kochava event", "Keys of `event_data`"), rows)


def _raw_key(key: RawKey) -> str:
    feeders = [code(name) for name in key.properties]
    feeders += [code(f"products[].{name}") for name in key.products]
    if key.message_field is not None:
        feeders.append(f"the message's {code(key.message_field)}")
    return code(key.key) + (f" ← {', '.join(feeders)}" if feeders else "")


def _standard_names() -> str:
    return codes(STANDARD_NAMES)


def _reserved_keys() -> str:
    return codes(sorted(RESERVED_KEYS))


def _platforms() -> str:
    rows = []
    for platform in (identifiers.APPLE, identifiers.ANDROID):
        names = [name for name, of in identifiers._PLATFORMS.items() if of == platform]
        marks = [mark for mark, of in identifiers._USER_AGENT_MARKS if of == platform]
        keys = identifiers._DEVICE_ID_KEYS[platform]
        rows.append((platform, codes(names), codes(marks), codes(keys)))
    rows.append(("none", "anything else", "", codes(identifiers._DEVICE_ID_KEYS[None])))
    head = ("Platform", "`os.name`, else `device.type`", "User agent contains", "`device_ids`")
    return table(head, rows)


def _filters() -> str:
    return table(
        ("Reason", "When"),
        (
            (f"[`{reason}`](errors.md#{reason.value.lower()})", _FILTERS[reason])
            for reason in _FILTERS
        ),
    )


# The options


# Options lists them in this order; each of these begins a group.
_GROUPS = {"app_guid": "mapping", "endpoint": "delivery", "outbox": "outbox"}


def _options(group: str) -> str:
    rows = []
    current = ""
    for field in attrs.fields(Options):
        current = _GROUPS.get(field.name, current)
        if current == group:
            rows.append(_option(field))
    return table(("Option, environment, command line", "Default", "Meaning"), rows)


def _option(field: attrs.Attribute[Any]) -> tuple[str, ...]:
    kind: Kind = field.metadata["kind"]
    flag = field.name.replace("_", "-")
    if kind.parse is None:
        outside = f"in Python only: {kind.written}"
    else:
        written = f"--{flag}/--no-{flag}" if kind is FLAG else f"--{flag} {kind.written}"
        outside = f"{code(ENVIRONMENT_PREFIX + field.name.upper())}<br>{code(written)}"
    return f"{code(field.name)}<br>{outside}", _default(field), field.metadata["description"]


def _default(field: attrs.Attribute[Any]) -> str:
    default: Any = field.default
    if isinstance(default, Factory):  # type: ignore[arg-type]  # a class, at run time
        default = default.factory()
    if default in (None, (), {}, NOTHING):
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if attrs.has(type(default)):
        return _own_defaults(field.name, default)
    if isinstance(default, tuple):
        return ", ".join(code(item if isinstance(item, str) else _shown(item)) for item in default)
    return code(str(default))


def _own_defaults(name: str, value: Any) -> str:
    """A value that is made of fields: what it has otherwise than its class, else a link."""
    others = [
        f"{field.name}={getattr(value, field.name)}"
        for field in attrs.fields(type(value))
        if getattr(value, field.name) != field.default
    ]
    return codes(others) if others else f"[its defaults](#{name.replace('_', '-')})"


def _shown(item: object) -> str:
    return f"{type(item).__name__}()" if attrs.has(type(item)) else str(item)


def _retry_policy() -> str:
    meanings = schema.attributes(RetryPolicy)
    rows = (
        (code(field.name), code(str(field.default)), meanings[field.name])
        for field in attrs.fields(RetryPolicy)
    )
    return table(("Field", "Default", "Meaning"), rows)


def _postback_fields() -> str:
    return table(
        ("Field", "Parameter"),
        ((code(field.name), code(str(field.default))) for field in attrs.fields(PostbackFields)),
    )


# Errors, names, rooms


def _error_tree() -> str:
    tree = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    return f"```text\n{inspect.cleandoc(tree)}\n```"


def _public_names() -> str:
    missing = set(kochava_segment.__all__) - set(reference.listed("kochava_segment"))
    if missing:
        raise LookupError(f"give {sorted(missing)} a place in SUBJECTS of docs/reference.py")
    parts = []
    for subject in reference.SUBJECTS:
        parts += [f"## {subject.title}", subject.introduction]
        for module in subject.names:
            names = [name for name in reference.names_of(subject) if name.module == module]
            parts.append(table((f"Of `{module}`", "What it is"), map(_public_name, names)))
    return "\n\n".join(parts)


def _public_name(name: reference.Name) -> tuple[str, str]:
    path = name.path.relative_to(reference.PACKAGE.parent).as_posix()
    return f"[`{name.name}`](../{path})", _first_sentence(name.docstring)


def _first_sentence(docstring: str | None) -> str:
    text = " ".join((docstring or "").split())
    return re.split(r"(?<=\.) (?=[A-Za-z])", text, maxsplit=1)[0]


def _rooms() -> str:
    return "```text\nkochava_segment/\n" + "\n".join(_room(PACKAGE, 1)) + "\n```"


def _room(folder: Path, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for path in sorted(folder.glob("*.py")):
        if path.stem != "__init__" or depth == 1:
            yield f"{indent}{path.name:<{30 - 2 * depth}} {_summary(path)}".rstrip()
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").exists():
            yield f"{indent}{path.name + '/':<{30 - 2 * depth}} {_summary(path / '__init__.py')}"
            yield from _room(path, depth + 1)


def _summary(path: Path) -> str:
    """The first sentence of a module's docstring; the module is not imported for it."""
    docstring = re.match(r'r?"""(.*?)(?:\n\n|""")', path.read_text(encoding="utf-8"), re.DOTALL)
    return _first_sentence(docstring[1]) if docstring else ""


def _extras() -> str:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = [("(none)", codes(project["dependencies"]))]
    rows += [(code(name), codes(needs)) for name, needs in project["optional-dependencies"].items()]
    return table(("Extra", "What it installs"), rows)


def _examples() -> str:
    return "\n\n".join(
        f"## {path.name}\n\n{_summary(path)}\n\n[The program](../examples/{path.name})"
        for path in sorted((DOCS.parent / "examples").glob("*.py"))
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "alert-rules": observability_tables.alert_rules,
    "command-line": command_line.details,
    "commands": command_line.commands,
    "data-fields": _data_fields,
    "emulator-rules": rules_table,
    "error-roots": advice_tables.error_roots,
    "error-tree": _error_tree,
    "errors": advice_tables.error_sections,
    "examples": _examples,
    "exit-codes": command_line.exit_codes,
    "extras": _extras,
    "filter-reasons": advice_tables.filter_reasons,
    "filters": _filters,
    "function-errors": advice_tables.function_error_sections,
    "log-events": observability_tables.log_events,
    "log-fields": observability_tables.log_fields,
    "metrics": metrics_table.metrics,
    "options-delivery": lambda: _options("delivery"),
    "options-mapping": lambda: _options("mapping"),
    "options-outbox": lambda: _options("outbox"),
    "outbox-states": advice_tables.outbox_states,
    "outcomes": advice_tables.outcomes,
    "platforms": _platforms,
    "postback-fields": _postback_fields,
    "public-names": _public_names,
    "receiver-answers": advice_tables.receiver_answers,
    "reserved-keys": _reserved_keys,
    "retry-policy": _retry_policy,
    "rooms": _rooms,
    "standard-events": _standard_events,
    "standard-names": _standard_names,
    "warnings": advice_tables.warnings,
}


def generated(page: str) -> str:
    """A page with all its generated parts as they should be."""
    return _BLOCK.sub(
        lambda block: f"{block['head']}{BLOCKS[block['name']]()}\n{block['tail']}", page
    )


def main() -> None:
    """Bring all pages and diagrams up to date."""
    fresh = {
        path: generated(path.read_text(encoding="utf-8")) for path in sorted(DOCS.glob("*.md"))
    }
    fresh[DOCS / "grafana-dashboard.json"] = dashboard.dashboard()
    fresh |= {DOCS / "images" / f"{name}.svg": draw() for name, draw in diagrams.DIAGRAMS.items()}
    for path, text in fresh.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.name} was brought up to date\n")


if __name__ == "__main__":
    main()
