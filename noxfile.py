"""What is published, tried: built twice, installed bare and with each extra, and run where it says it runs.

    nox -s dist extras licences     what .ci/run does
    nox -s lock                     pin what .ci/run installs to the newest there is
    nox -s tests                    the tests from the sdist on the wheel: each Python, oldest and newest

docs/releasing.md says more.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import tarfile
from pathlib import Path

import nox

HERE = Path(__file__).parent
DIST = HERE / "dist"
LOCKED = HERE / ".ci" / "locked"
PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
EXTRAS = (
    *("bare", "cli", "async", "fast", "metrics", "opentelemetry", "segment"),
    *("server", "cli,server", "beam"),
)
WITH_BEAM = ("beam", "cli", "fast", "test")
# Of the few that are no MIT, BSD, Apache or PSF licence, docs/licences.md says what follows.
LICENCES = (
    *("MIT", "BSD", "Apache", "ISC", "PSF", "Python Software Foundation", "Unlicense"),
    *("Mozilla Public License 2.0", "MPL-2.0", "GNU Lesser General Public License"),
)
WITHOUT_OLD_WHEELS = ("3.13", "3.14")
PYODIDE = "wasm32-pyodide2024"
PURE = (
    *("mapping", "test_documents.py", "test_errors.py", "test_json_codec.py", "test_names.py"),
    *("test_option_kinds.py", "test_options.py", "emulator/test_rules.py"),
    *("delivery/test_answer.py", "delivery/test_devices.py", "delivery/test_outbox.py"),
)
GROUPS = ("lint", "release", "docs")  # what .ci/run needs beside the extras

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.sessions = ["dist", "extras", "licences"]


def install(session: nox.Session, *what: str, lock: str = "ci") -> None:
    """Install what is locked, checked by its hash, and nothing younger."""
    session.install(*what, "--constraints", str(LOCKED / f"{lock}.txt"))


def wheel(extras: str = "") -> str:
    """The wheel that `dist` built, as something to install."""
    (path,) = DIST.glob("*.whl")
    return f"kochava-segment[{extras}] @ {path.as_uri()}" if extras else str(path)


@nox.session
def dist(session: nox.Session) -> None:
    """Build twice, at two places and in unlike surroundings: the same bytes, with all that belongs there."""
    install(session, "build", "check-wheel-contents", "hatchling", "twine")
    one, another = (
        Path(session.create_tmp()).absolute() / name for name in ("one", "another/deeper")
    )
    builds = [
        # The first wheel is built from the sdist, the second from the checkout.
        (HERE, one, [], {"TZ": "UTC", "PYTHONHASHSEED": "1"}, 0o022),
        (
            one,
            another,
            ["--sdist", "--wheel"],
            {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "2"},
            0o077,
        ),
    ]
    for source, place, kinds, variables, mask in builds:
        shutil.rmtree(place, ignore_errors=True)
        os.umask(mask)
        session.run("git", "clone", "-q", str(source), str(place), external=True)
        show = ("git", "-C", str(place), "log", "-1", "--format=%ct")
        env = {
            **variables,
            "SOURCE_DATE_EPOCH": session.run(*show, external=True, silent=True).strip(),
        }
        session.run("python", "-m", "build", "-q", "--no-isolation", *kinds, str(place), env=env)
    os.umask(0o022)
    one, another = (sorted((place / "dist").iterdir()) for place in (one, another))
    for ours, theirs in zip(one, another, strict=True):
        if not filecmp.cmp(ours, theirs, shallow=False):
            session.error(f"{ours} and {theirs} differ")
    session.run("twine", "check", "--strict", *map(str, one))
    session.run("check-wheel-contents", *(str(path) for path in one if path.suffix == ".whl"))
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.copytree(one[0].parent, DIST)


@nox.session
@nox.parametrize("extras", EXTRAS, ids=EXTRAS)
def extras(session: nox.Session, extras: str) -> None:
    """The wheel with one extra alone does what that is for, and names the extras that are missing."""
    wanted = "" if extras == "bare" else extras
    install(session, wheel(wanted), lock="beam" if extras == "beam" else "ci")
    session.chdir(session.create_tmp())  # away from the checkout
    shutil.copy(HERE / ".ci" / "check_install.py", ".")
    session.run("python", "check_install.py", wanted)


@nox.session
def licences(session: nox.Session) -> None:
    """Nothing that users install has a licence that they would not expect."""
    install(session, wheel("all"), "pip-licenses")
    session.run(
        "pip-licenses", "--from=mixed", "--partial-match", f"--allow-only={';'.join(LICENCES)}"
    )


def unpacked_tests(tmp: Path, package: str | None = None) -> Path:
    """The sdist, unpacked; its package is left out, or replaced by a link to the wheel's."""
    (sdist,) = DIST.glob("*.tar.gz")
    shutil.rmtree(tmp / "sdist", ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp / "sdist", filter="data")
    (place,) = (tmp / "sdist").iterdir()
    shutil.rmtree(place / "kochava_segment")
    if package is not None:
        (place / "kochava_segment").symlink_to(package)
    return place


@nox.session(python=PYTHONS)
@nox.parametrize("resolution", ["lowest-direct", "highest"], ids=["oldest", "newest"])
def tests(session: nox.Session, resolution: str) -> None:
    """The tests, as the sdist has them, pass on the wheel with the oldest and the newest dependencies allowed."""
    if resolution == "lowest-direct" and str(session.python) in WITHOUT_OLD_WHEELS:
        session.skip("some of the oldest dependencies have no wheels for it")
    tmp = Path(session.create_tmp()).absolute()
    pins = str(tmp / "pins.txt")
    session.run_install(
        *("uv", "pip", "compile", "-q", "pyproject.toml", "--extra=all", "--extra=test"),
        *("--resolution", resolution, "--python", session.virtualenv.location, "-o", pins),
        external=True,
    )
    session.install("-r", pins)
    session.install("--no-deps", wheel())
    script = "import kochava_segment; print(kochava_segment.__path__[0])"
    session.chdir(tmp)
    shutil.copy(HERE / ".ci" / "check_install.py", ".")
    session.run("python", "check_install.py", "async,cli,fast,metrics,opentelemetry,segment,server")
    package = session.run("python", "-c", script, silent=True).strip()
    session.chdir(unpacked_tests(tmp, package))
    session.run("python", "-m", "pytest", "-q", *session.posargs)


@nox.session(venv_backend="none", default=False)
def pyodide(session: nox.Session) -> None:
    """What needs no threads passes on Python 3.14 as npm has it, which is Pyodide; needs node."""
    tmp = Path(session.create_tmp()).absolute()
    packages = tmp / "packages"
    shutil.rmtree(packages, ignore_errors=True)
    session.run(
        *("uv", "pip", "install", "-q", "--target", str(packages), "--python-version", "3.14"),
        *("--python-platform", PYODIDE, "--only-binary", ":all:", wheel()),
        *("hypothesis", "pytest", "sybil", "tzdata"),
        external=True,
    )
    place = unpacked_tests(tmp)
    runner = shutil.copy(HERE / ".ci" / "pyodide.mjs", tmp)
    session.run(
        *("npm", "install", "--prefix", str(tmp), "--no-save", "pyodide@314"), external=True
    )
    options = [
        "-q",
        "-o",
        "addopts=",
        "--import-mode=importlib",
        "--strict-markers",
        "-m",
        "not slow",
    ]
    options += [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:faulthandler",
        *(f"tests/{name}" for name in PURE),
    ]
    options += ["-k", "not time_zone_of_the_machine"]  # it has no tzset()
    # The tests of deep nesting need a deep stack.
    node = 'ulimit -s 65536 && exec node --stack-size=60000 "$@"'
    session.run("sh", "-c", node, "sh", runner, str(packages), str(place), *options, external=True)


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Pin what .ci/run installs to the newest there is, with hashes; without --upgrade, only what has changed."""
    LOCKED.mkdir(exist_ok=True)
    everything = ["--extra=all", "--extra=test", *(f"--group={name}" for name in GROUPS)]
    with_beam = ["--group=installer", *(f"--extra={name}" for name in WITH_BEAM)]
    locks = {"ci": everything, "beam": with_beam, "installer": ["--group=installer"]}
    for name, what in locks.items():
        source = () if name == "installer" else ("pyproject.toml",)
        session.run(
            *("uv", "pip", "compile", "-q", *source, *what, "--universal"),
            *("--python-version", PYTHONS[0], "--generate-hashes", "--no-annotate"),
            *("--custom-compile-command", "nox -s lock", "-o", str(LOCKED / f"{name}.txt")),
            *session.posargs,
            external=True,
        )
