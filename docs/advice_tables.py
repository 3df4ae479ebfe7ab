"""What docs/errors.md and docs/outbox.md say of each code, for `generate.py`: a code without advice stops it, and advice on none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import kochava_segment
from kochava_segment import FilterReason, OutcomeKind, errors
from kochava_segment.advice import ADVICE, Advice, Kind
from kochava_segment.delivery.outbox_inspection import STATES
from kochava_segment.segment import function_errors

PACKAGE = Path(kochava_segment.__file__).parent
# Whoever warns names the code there; these two hand on what they are given.
_HAND_ON = "message.py"


def warning_codes() -> set[str]:
    """The codes of all warnings that the package gives, from its source."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ""
            if isinstance(call, ast.Call):
                name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if not isinstance(call, ast.Call) or name not in ("warn", "MappingWarning"):
                continue
            code = call.args[0]
            if isinstance(code, ast.Constant):
                found.add(str(code.value))
            elif path.name != _HAND_ON:
                raise LookupError(
                    f"{path.name}:{call.lineno} warns with a code that cannot be read"
                )
    return found


def _leaves(module: object, root: type[Exception]) -> set[str]:
    """The errors of a module that are raised: those that nothing derives from."""
    own = getattr(module, "__name__", "")
    return {
        name
        for name, error in vars(module).items()
        if isinstance(error, type) and issubclass(error, root) and error.__module__ == own
        if not error.__subclasses__()
    }


def statuses() -> set[str]:
    """What the receiver answers beside 200 and 202, from its source."""
    folder = PACKAGE / "server"
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    found = set(re.findall(r"Refusal\((\d{3})", text))
    found |= set(re.findall(r"OutcomeKind\.\w+: (\d{3})", text))
    return found - {"200", "202"}


def _checked(kind: Kind, codes: Iterable[str]) -> Iterator[Advice]:
    """The advice of a kind, which must be on these codes."""
    wanted = set(codes)
    given = [advice for advice in ADVICE if advice.kind == kind]
    for code in wanted.symmetric_difference(advice.code for advice in given):
        verb = "has no advice" if code in wanted else "is no code"
        raise LookupError(f"the {kind} {code} {verb}: mend kochava_segment/advice.py")
    return iter(given)


def _sections(kind: Kind, codes: Iterable[str]) -> str:
    return "\n\n".join(
        f"### {advice.code}\n\n{_linked(advice.cause)}\n\n**What to do:** {_linked(advice.remedy)}"
        for advice in _checked(kind, codes)
    )


def _rows(kind: Kind, codes: Iterable[str], head: tuple[str, str, str]) -> str:
    lines = [head, ("---",) * 3]
    lines += [
        (
            f'<a id="{advice.anchor}"></a>`{advice.code}`',
            _linked(advice.cause),
            _linked(advice.remedy),
        )
        for advice in _checked(kind, codes)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _linked(text: str) -> str:
    """A text in which errors lead to what is said of them."""
    return re.sub(
        r"`([A-Z][a-z]\w+)`",
        lambda name: f"[{name[0]}](#{name[1].lower()})" if name[1] in _NAMED else name[0],
        text,
    )


_NAMED = {advice.code for advice in ADVICE if advice.kind in ("error", "function error")}


def warnings() -> str:
    """A section for each warning."""
    return _sections("warning", warning_codes())


def error_sections() -> str:
    """A section for each error that is raised."""
    return _sections("error", _leaves(errors, errors.KochavaSegmentError))


def error_roots() -> str:
    """The errors that others derive from, which are caught and not raised."""
    modules = (errors, function_errors)
    leaves = set().union(*(_leaves(module, errors.KochavaSegmentError) for module in modules))
    lines = [("To catch", "What that catches"), ("---", "---")]
    lines += [
        (
            f'<a id="{name.lower()}"></a>`{name}`',
            " ".join((error.__doc__ or "").split("\n")[0].split()),
        )
        for module in modules
        for name, error in vars(module).items()
        if isinstance(error, type) and issubclass(error, errors.KochavaSegmentError)
        if error.__module__ == module.__name__ and name not in leaves
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def function_error_sections() -> str:
    """A section for each error that functions have beside those."""
    return _sections("function error", _leaves(function_errors, errors.KochavaSegmentError))


def filter_reasons() -> str:
    """All reasons for which a message is filtered."""
    head = ("Reason", "What happened", "What to do if you did not expect it")
    return _rows("reason", (reason.value for reason in FilterReason), head)


def outcomes() -> str:
    """All outcomes."""
    head = ("Outcome", "Meaning", "What to do")
    return _rows("outcome", (kind.value for kind in OutcomeKind), head)


def outbox_states() -> str:
    """All states of what is in an outbox."""
    return _rows("state", STATES, ("State", "Meaning", "What to do"))


def receiver_answers() -> str:
    """All statuses with which the receiver does not take something."""
    return _rows("answer", statuses(), ("Status", "What happened", "What to do"))
