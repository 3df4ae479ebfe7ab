"""The package as a whole: its public names, what it imports, and which way."""

import ast
import subprocess
import sys
import sysconfig
from importlib.metadata import requires, version
from pathlib import Path

import pytest

import kochava_segment

PACKAGE = Path(kochava_segment.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# From the front door inwards; a room may import those of its own floor and of the floors below.
FLOORS = (
    ("__main__",),
    ("cli", "testing"),
    ("server",),
    ("emulator", "segment", "beam"),
    ("entries",),
    ("async_destination", "destination"),
    ("base_destination",),
    ("durable", "json_log", "masking"),
    ("mapping", "delivery"),
    ("options", "outcome"),
    ("option_kinds", "request"),
    ("errors", "json_codec", "names", "documents", "log_events", "schema", "types", "advice"),
    ("plural", "printable"),
)
# `options` has options of these types; they are delivery's ground floor and import nothing above.
OPTIONS_OF_DELIVERY = {
    "kochava_segment.delivery.async_transport",
    "kochava_segment.delivery.instrumentation",
    "kochava_segment.delivery.retry",
    "kochava_segment.delivery.transport",
}
# Whoever imports these has asked for them.
OPTIONAL = {
    "click": {"cli"},
    "rich": {"cli"},
    "pytest": {"testing"},
    "tomli": {"options"},
    "tomllib": {"options"},  # of the standard library only since Python 3.11
    "starlette": {"server"},
    "uvicorn": {"server"},
    "httptools": {"server"},
    "jinja2": {"server"},
    "markupsafe": {"server"},  # jinja2's own
    "segment": {"segment"},
    "apache_beam": {"beam"},
    "prometheus_client": {"delivery", "server"},
    "aiohttp": {"delivery"},
    "yarl": {"delivery"},  # aiohttp's own
    "pycurl": {"delivery"},
    "orjson": {"json_codec"},
    "opentelemetry": {"delivery"},
}
BASE = {"attr", "attrs", "certifi", "requests", "typing_extensions", "urllib3"}  # some by requests


def imports_of(path):
    """The modules that a module imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for name in node.names:
                # `from package import module` imports the module, not only the package.
                whole = f"{node.module}.{name.name}"
                yield whole if whole in MODULES else node.module, node.lineno


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def floor(module):
    found = [number for number, rooms in enumerate(FLOORS) if room(module) in rooms]
    assert found, f"{module} is in no room: give it a floor"
    return found[0]


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_public_names_are_sorted_and_there():
    assert kochava_segment.__all__ == sorted(set(kochava_segment.__all__))
    assert dir(kochava_segment) == kochava_segment.__all__
    for name in kochava_segment.__all__:
        assert getattr(kochava_segment, name) is not None


def test_type_checkers_see_the_same_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kochava_segment")
        for alias in node.names
    }
    assert seen | {"__version__"} == set(kochava_segment.__all__)


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'Kochava'"):
        kochava_segment.Kochava  # noqa: B018


def public_classes():
    return [
        value
        for name in kochava_segment.__all__
        if isinstance(value := getattr(kochava_segment, name), type)
    ]


@pytest.mark.parametrize("public", public_classes(), ids=lambda public: public.__name__)
def test_public_things_are_documented(public):
    own = public.__dict__.get("__doc__") or ""
    assert own
    assert not own.startswith(f"{public.__name__}("), "that is what attrs writes of itself"
    for name, member in vars(public).items():
        if not name.startswith("_") and callable(member):
            assert member.__doc__, f"{public.__name__}.{name}"


def test_every_public_error_and_value_is_public():
    """What public modules list, the package lists as well."""
    from kochava_segment import errors

    assert set(errors.__all__) <= set(kochava_segment.__all__)


def test_the_version_is_the_distribution_s():
    assert kochava_segment.__version__ == version("kochava-segment")


def test_the_types_are_shipped():
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module):
    docstring = ast.get_docstring(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", "`."))


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module):
    if module == "kochava_segment":
        return  # the names of all rooms, loaded at first use
    for imported, line in imports_of(MODULES[module]):
        if not imported.startswith("kochava_segment.") or room(imported) == room(module):
            continue
        if room(module) == "options" and imported in OPTIONS_OF_DELIVERY:
            continue
        assert floor(imported) > floor(module), f"{module}:{line} imports {imported}"


def test_what_options_need_of_delivery_stands_on_its_own():
    for module in OPTIONS_OF_DELIVERY:
        below = {name for name, _ in imports_of(MODULES[module]) if name.startswith("kochava")}
        assert {room(name) for name in below} <= {"delivery", "errors", "log_events", "request"}


@pytest.mark.parametrize("module", MODULES)
def test_optional_dependencies_stay_in_their_room(module):
    for imported, line in imports_of(MODULES[module]):
        top = imported.partition(".")[0]
        if top in sys.stdlib_module_names or top in BASE or top == "kochava_segment":
            continue
        assert room(module) in OPTIONAL.get(top, ()), f"{module}:{line} imports {top}"


def test_the_base_has_three_dependencies():
    base = [need for need in requires("kochava-segment") or () if "extra ==" not in need]
    assert sorted(need.split(">")[0] for need in base) == ["attrs", "requests", "typing-extensions"]


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, kochava_segment\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} "
        "& {'requests', 'urllib3', 'click', 'rich', 'pytest', 'attr', 'http', 'ssl'}))"
    )
    result = run(code)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


BLOCK = """
import sys

class Block:
    allowed = {allowed!r}

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in self.allowed and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
"""
# The distribution's own name, the three, and what requests itself needs.
ALLOWED = BASE | {"kochava_segment", "charset_normalizer", "chardet", "idna", "socks"}


def test_the_base_works_with_its_three_dependencies():
    code = BLOCK.format(allowed=ALLOWED) + (
        "import kochava_segment as k\n"
        "for name in k.__all__: getattr(k, name)\n"
        "message = {'type': 'track', 'event': 'Level Complete', 'anonymousId': 'a-1'}\n"
        "from kochava_segment.emulator import KochavaEmulator\n"
        "with KochavaEmulator() as emulator:\n"
        "    with k.KochavaDestination('koexample', endpoint=emulator.url) as kochava:\n"
        "        print(kochava.send(message).status)\n"
    )
    result = run(code)
    assert (result.stdout.strip(), result.stderr) == ("200", "")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_the_command_names_its_extra(missing):
    code = BLOCK.format(allowed=(ALLOWED | {"click", "rich"}) - {missing}) + (
        "from kochava_segment.__main__ import main\nmain()"
    )
    result = run(code)
    assert result.returncode == 2
    assert result.stderr.strip() == (
        "The command line needs an extra: pip install 'kochava-segment[cli]'"
    )


def test_the_command_is_installed():
    script = Path(sysconfig.get_path("scripts")) / "kochava-segment"
    result = subprocess.run(
        [str(script), "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert kochava_segment.__version__ in result.stdout
