"""The API reference: which public names there are, by subject.

`generate.py` makes the tables of api.md of it; for the site, `conf.py` adds a page for each subject,
with everything that the docstrings say. Sources are read, not imported: no extra is needed for it.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

PACKAGE = Path(__file__).parents[1] / "kochava_segment"


@frozen
class Subject:
    """What belongs together.

    Attributes:
        slug: The name of its page.
        title: The heading.
        introduction: What a reader should know first, in Markdown.
        names: Public names by the module that they are imported from.
    """

    slug: str
    title: str
    introduction: str
    names: dict[str, str]


SUBJECTS = (
    Subject(
        "destinations",
        "Destinations",
        "The front doors. [Options](options.md) lists what they take.",
        {
            "kochava_segment": "KochavaDestination AsyncKochavaDestination Options PostbackFields "
            "__version__"
        },
    ),
    Subject(
        "results",
        "Requests and outcomes",
        "What the mapping gives, and what became of it.",
        {
            "kochava_segment": "KochavaRequest MappingWarning Explanation ExplainedField LeftOut "
            "Receipt Outcome OutcomeKind Forgotten"
        },
    ),
    Subject(
        "errors",
        "Errors",
        "[Errors, warnings and outcomes](errors.md) says what to do about each.",
        {
            "kochava_segment": "KochavaSegmentError ConfigurationError Problem MappingError "
            "InvalidEventPayload EventNotSupported EventFiltered FilterReason DeliveryError Rejected "
            "CredentialsRejected RetriesExhausted AmbiguousDelivery OutboxError OutboxFull "
            "OutboxUnavailable OutboxUnusable"
        },
    ),
    Subject(
        "delivery",
        "Delivery",
        "How requests are tried and retried, who posts them, and who is told.",
        {
            "kochava_segment": "RetryPolicy DeliveryHook AttemptEvent RetryScheduledEvent "
            "OutcomeEvent LoggingHook Transport AsyncTransport Answer TransportFailure "
            "RequestsTransport DryRunTransport RecordingTransport",
            "kochava_segment.delivery.prometheus": "PrometheusHook",
            "kochava_segment.delivery.opentelemetry": "OpenTelemetryHook",
            "kochava_segment.json_log": "JsonFormatter",
        },
    ),
    Subject(
        "outbox",
        "Outbox",
        "What the command `outbox` does, as functions; [Operating the outbox](outbox.md) has the "
        "tasks.",
        {
            "kochava_segment": "Outbox OutboxStatus",
            "kochava_segment.delivery.outbox_inspection": "EntryFilter OutboxEntry entries "
            "outbox_status OutboxDepth outbox_depth count_pending has_pending",
            "kochava_segment.delivery.outbox_changes": "retry discard",
        },
    ),
    Subject(
        "segment",
        "Segment",
        "[Functions](functions.md), signed [webhooks](receiving.md), and what goes "
        "[back to Segment](attribution.md).",
        {
            "kochava_segment.segment.functions": "Functions BUDGET BatchEntry on_track on_identify "
            "on_screen on_page on_group on_alias on_delete on_batch close_kept FunctionError "
            "ValidationError RetryError DropEvent",
            "kochava_segment.segment.webhook": "sign is_signed is_array",
            "kochava_segment.segment.tracking": "SegmentTracking SEGMENT SEGMENT_EU "
            "MAX_MESSAGE_BYTES",
        },
    ),
    Subject(
        "types",
        "Types and schema",
        "Of messages and payloads, for type checkers; [Types and schema](types.md) says how to use "
        "them.",
        {
            "kochava_segment.types": "SegmentMessage TrackMessage IdentifyMessage ScreenMessage "
            "PageMessage Context ContextApp ContextCampaign ContextConsent ContextDevice ContextOS "
            "ContextPersonas KochavaOptions KochavaPayload KochavaTrackPayload KochavaEvent "
            "KochavaInstall KochavaIdfaUpdate KochavaIdentityLink KochavaDataSubjectRequest "
            "EventData DeviceData IdfaData AppTrackingTransparency GdprPrivacyConsent "
            "DataSubjectDevice",
            "kochava_segment.schema": "payload_schema SCHEMA_FILE",
        },
    ),
    Subject(
        "server",
        "Receiver",
        "The [receiver](receiving.md) and the [console](console.md), to be mounted elsewhere.",
        {"kochava_segment.server": "create_app"},
    ),
    Subject(
        "testing",
        "Testing",
        "The local Kochava of your own [tests](testing.md).",
        {
            "kochava_segment.emulator": "KochavaEmulator ReceivedRequest Complaint Faults "
            "rules_table",
            "kochava_segment.testing": "kochava_emulator",
        },
    ),
    Subject(
        "beam",
        "Apache Beam",
        "For [more than one machine](beam.md). These need the extra `beam`.",
        {
            "kochava_segment.beam": "ReadFromSegmentArchive Selection WriteToKochava OUTPUTS "
            "FAILED_OUTPUTS DryRun credentials_from_environment"
        },
    ),
)

# Methods of these are not ours to document.
_FOREIGN = "object, BaseException, Exception, ValueError, str, Enum, dict, PTransform"
_IN_BEAM = "kochava_segment.beam."
_TABLE_LINK = re.compile(r"^\| \[`(?P<name>\w+)`\]\([^)]+\)", re.MULTILINE)


@frozen
class Name:
    """A public name and what its source says.

    Attributes:
        name: The name.
        module: The module that it is imported from.
        path: The file in which it is defined.
        docstring: Its docstring.
        definition: The class or function; None for all else.
    """

    name: str
    module: str
    path: Path
    docstring: str
    definition: ast.ClassDef | ast.FunctionDef | None = None


def names_of(subject: Subject) -> Iterator[Name]:
    """The names of a subject."""
    for module, names in subject.names.items():
        for name in names.split():
            yield _find(module, name)


def listed(module: str) -> list[str]:
    """Which names of a module are in the reference."""
    return [name for subject in SUBJECTS for name in subject.names.get(module, "").split()]


@functools.cache
def modules() -> dict[str, str]:
    """The module from which each name is imported."""
    return {
        name: module
        for subject in SUBJECTS
        for module, names in subject.names.items()
        for name in names.split()
    }


def door(page: str) -> str:
    """The page of the tables, for the site: names lead to their reference, which is below it."""

    def link(row: re.Match[str]) -> str:
        name = row["name"]
        return f"| {{py:obj}}`{name} <{modules()[name]}.{name}>`"

    tree = "\n".join(f"reference/{subject.slug}" for subject in SUBJECTS)
    return f"{_TABLE_LINK.sub(link, page)}\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"


def write_pages(folder: Path) -> None:
    """Write a page for each subject, where it is not there yet as it should be, and no other."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        if path.stem not in {subject.slug for subject in SUBJECTS}:
            path.unlink()
    for subject in SUBJECTS:
        path = folder / f"{subject.slug}.md"
        page = _page(subject)
        if not path.exists() or path.read_text(encoding="utf-8") != page:
            path.write_text(page, encoding="utf-8")


def with_code_blocks(lines: Iterable[str]) -> list[str]:
    """A docstring, with what is indented as code blocks of reStructuredText."""
    made: list[str] = []
    depth = 0  # of the last paragraph
    code = False
    after_blank = False
    for line in lines:
        if not line.strip():
            after_blank = True
            made.append(line)
            continue
        indent = len(line) - len(line.lstrip())
        if after_blank and indent > depth and not code:
            made += [f"{' ' * depth}.. code-block:: python", ""]
            code = True
        if indent <= depth:
            code = False
        if not code:
            depth = indent
        made.append(line)
        after_blank = False
    return made


def with_untyped_returns(lines: Iterable[str]) -> list[str]:
    """A docstring whose `Returns:` has no type: the signature has it, and a colon is only a colon."""
    made: list[str] = []
    begins = False
    for line in lines:
        if begins and line.strip():
            indent = len(line) - len(line.lstrip())
            made.append(f"{line[:indent]}: {line[indent:]}")
            begins = False
        else:
            made.append(line)
        begins = begins or line.strip() == "Returns:"
    return made


def _page(subject: Subject) -> str:
    introduction = re.sub(r"\]\((\w)", r"](../\1", subject.introduction)
    parts = [f"# {subject.title}", introduction]
    module = ""
    for name in names_of(subject):
        if name.module != module:
            module = name.module
            parts.append(f"## Of `{module}`" if len(subject.names) > 1 else f"Of `{module}`:")
        parts.append("```{eval-rst}\n" + "\n".join(_directive(name)) + "\n```")
    return "\n\n".join(parts) + "\n"


def _directive(name: Name) -> Iterator[str]:
    whole = f"{name.module}.{name.name}"
    if isinstance(name.definition, ast.ClassDef):
        # Bases of Beam's are not there: without them, autodoc does not find how a class is made.
        yield f".. autoclass:: {whole}{_signature(name.definition) if _IN_BEAM in whole else ''}"
        yield "   :members:"
        yield f"   :inherited-members: {_FOREIGN}"
        bases = {ast.unparse(base) for base in name.definition.bases}
        if "Enum" in bases:
            yield "   :undoc-members:"
        if not bases.isdisjoint(modules()):
            yield "   :show-inheritance:"
    elif name.definition is not None and not name.definition.decorator_list:
        yield f".. autofunction:: {whole}"
    else:  # also fixtures; autodoc finds the docstrings of data only where it is defined
        yield f".. py:data:: {whole}"
        yield ""
        yield from (f"   {line}" for line in name.docstring.splitlines())


def _signature(definition: ast.ClassDef) -> str:
    for method in definition.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            return f"({ast.unparse(method.args).removeprefix('self').removeprefix(', ')})"
    return ""


@functools.cache
def _tree(module: str) -> tuple[Path, ast.Module]:
    path = PACKAGE.parent / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path, ast.parse(path.read_text(encoding="utf-8"))


def _find(module: str, name: str) -> Name:
    """A name, followed to where it is defined."""
    home = module
    while True:
        path, tree = _tree(home)
        for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
            if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.name == name:
                return Name(name, module, path, ast.get_docstring(statement) or "", statement)
            if _assigns(statement, name):
                return Name(name, module, path, _string(following))
        home = next(_imported_from(tree, name), "")
        if not home:
            if name == "__version__":
                return Name(name, module, path, "The version of the package.")
            raise LookupError(f"{module} has no {name}: mend SUBJECTS in docs/reference.py")


def _imported_from(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            yield node.module or ""


def _assigns(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, ast.Assign):
        return name in map(ast.unparse, statement.targets)
    return isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == name


def _string(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return inspect.cleandoc(str(statement.value.value))
    return ""
