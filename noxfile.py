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
    one, another = (Path(session.create_tmp()).absolute() / name for name in ("one", "another/deeper"))
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


@nox.session(python=PYTHONS)
@nox.parametrize("resolution", ["lowest-direct", "highest"])
def tests(session: nox.Session, resolution: str) -> None:
    """The tests as the sdist has them, on the wheel, with the oldest or the newest dependencies that are allowed."""
    tmp = Path(session.create_tmp()).absolute()
    pins = str(tmp / "pins.txt")
    session.run_install(
        *("uv", "pip", "compile", "-q", "pyproject.toml", "--extra=all", "--extra=test"),
        *("--resolution", resolution, "--python", session.virtualenv.location, "-o", pins),
        external=True,
    )
    session.install("-r", pins)
    session.install("--no-deps", wheel())
    (sdist,) = DIST.glob("*.tar.gz")
    shutil.rmtree(tmp / "sdist", ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp / "sdist", filter="data")
    (unpacked,) = (tmp / "sdist").iterdir()
    shutil.rmtree(unpacked / "kochava_segment")  # the wheel is to be tried
    session.chdir(unpacked)
    session.run("python", "-m", "pytest", "-q", *session.posargs)


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
