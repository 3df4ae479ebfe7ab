"""The types of messages know what the mapping reads, and cost nothing where they are not used."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import reference  # of docs
from typing_extensions import get_type_hints

from kochava_segment import KochavaDestination, types
from kochava_segment.types import messages
from tests.messages import ios

# Where Segment's libraries put things that no spec has, and that the mapping reads all the same.
PLACES = {
    (): messages.TrackMessage,
    ("context",): messages.Context,
    ("context", "app"): messages.ContextApp,
    ("context", "campaign"): messages.ContextCampaign,
    ("context", "consent"): messages.ContextConsent,
    ("context", "device"): messages.ContextDevice,
    ("context", "os"): messages.ContextOS,
    ("context", "personas"): messages.ContextPersonas,
    ("integrations", "Kochava"): messages.KochavaOptions,
}
OF_ALL_TYPES = {"name", "traits"}  # of a screen, of an identify


class Recording(dict):
    """A dict that remembers what was asked for."""

    def __init__(self, values):
        super().__init__(values)
        self.asked = set()

    def get(self, key, default=None):
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.asked.add(key)
        return super().__getitem__(key)


def recording(**changes):
    """A message in which every place is recorded."""
    message = ios(**changes)
    for path in PLACES:
        inner = message
        for key in path:
            inner = inner.setdefault(key, {})
    found = {}

    def wrap(value, path):
        if not isinstance(value, dict):
            return value
        found[path] = Recording({key: wrap(item, (*path, key)) for key, item in value.items()})
        return found[path]

    return wrap(message, ()), found


MESSAGES = {
    "install": {"event": "Application Installed", "context__campaign__source": "iAd",
                "context__campaign__provider": "Apple"},
    "event": {"timestamp": "", "context__device__trackingStatus": "?", "context__device__idfa": "",
              "context__device__advertisingId": ""},
    "screen": {"type": "screen"},
    "identify": {"type": "identify"},
    "ip": {"context__ip": ""},
}  # fmt: skip


@pytest.fixture(scope="module")
def read():
    """The keys that the mapping asked for, by place."""
    asked = {path: set() for path in PLACES}
    options = {"screens": "named", "required_consent": ["Ads"], "ad_user_data_consent": "Ads"}
    for changes in MESSAGES.values():
        consent = {"context__consent__categoryPreferences": {"Ads": True}}
        filler = {"integrations__Kochava__att_detail": "x", "context__personas__space_id": "s"}
        message, found = recording(**changes, **consent, **filler)
        KochavaDestination("koapp", **options).map(message)
        for path in PLACES:
            asked[path] |= found[path].asked
    return asked


def snake_case(name):
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(path) or "message")
def test_every_key_that_the_mapping_reads_is_in_the_types(path, read):
    known = set(get_type_hints(PLACES[path])) | (set() if path else OF_ALL_TYPES)
    asked = read[path]
    assert asked, "the mapping reads nothing here: the test looks in the wrong place"
    if path == ("integrations", "Kochava"):
        asked = {snake_case(key) for key in asked}
        assert asked == known, "every option has an effect, too"
    assert asked <= known


def test_all_names_are_exported():
    ours = {
        name
        for module in (types.messages, types.payloads)
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    }
    assert ours - {"Shape"} <= set(types.__all__)
    assert types.__all__ == sorted(types.__all__)


@pytest.mark.parametrize(
    "code",
    [
        "from kochava_segment import KochavaDestination; KochavaDestination('koapp')",
        "from kochava_segment.emulator import KochavaEmulator; KochavaEmulator()",
        "import kochava_segment.segment.functions",
    ],
)
def test_whoever_does_not_import_the_types_does_not_pay_for_them(code):
    script = f"{code}\nimport sys\nprint('kochava_segment.types' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"


# What a user rarely writes the name of: it is what the others are made of.
PARTS = {
    *"ContextApp ContextCampaign ContextConsent ContextDevice ContextOS ContextPersonas".split(),
    *"EventData DeviceData IdfaData AppTrackingTransparency GdprPrivacyConsent".split(),
    *"DataSubjectDevice KochavaInstall KochavaIdfaUpdate KochavaDataSubjectRequest".split(),
}


def test_type_checkers_see_every_public_name_in_use():
    files = (Path(__file__).parent / "typing").glob("*.py")
    words = set(re.findall(r"\w+", "".join(file.read_text(encoding="utf-8") for file in files)))
    public = {
        name
        for subject in reference.SUBJECTS
        for module, names in subject.names.items()
        for name in names.split()
        if not module.startswith("kochava_segment.beam")  # Beam is not installed there
    }
    assert public - PARTS - words == set()
