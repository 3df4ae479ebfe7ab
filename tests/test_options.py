"""Options from keywords, TOML and the environment: checked together, told together."""

import attrs
import pytest

from kochava_segment import ConfigurationError, KochavaDestination, PostbackFields, RetryPolicy
from kochava_segment.options import ENVIRONMENT_PREFIX, Options


def load(environment=None, file=None, **keywords):
    return Options.load(keywords, environment=environment, file=file)


def problems_of(**arguments):
    with pytest.raises(ConfigurationError) as caught:
        load(**arguments)
    return [(problem.path, problem.detail) for problem in caught.value.problems]


@pytest.fixture
def toml(tmp_path):
    """Writes a configuration file."""

    def toml(text):
        path = tmp_path / "kochava.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return toml


# Sources


def test_defaults():
    options = load()
    assert options.app_guid is None
    assert options.screens == "off"
    assert options.nested == "keep"
    assert options.send_user_id is True
    assert options.allow_properties is None
    assert options.endpoint == "https://control.kochava.com"
    assert options.timeout == (3.05, 10.0)
    assert options.postback_fields == PostbackFields()
    assert options.signed is False


def test_none_stands_for_the_default():
    assert load(screens=None, timeout=None) == load()


def test_options_are_frozen_and_share_no_defaults():
    options = load()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        options.screens = "view"
    assert load().app_guids is not load().app_guids


def test_options_come_from_a_file(toml):
    path = toml(
        """
        app_guid = "kofile"
        require_device_id = true
        required_consent = ["Ads", "Sale"]
        timeout = [1, 2.5]
        [event_names]
        "Level Up" = "Level Complete"
        [retry]
        max_attempts = 7
        [postback_fields]
        idfa = "apple_id"
        """
    )
    options = load(file=path)
    assert options.app_guid == "kofile"
    assert options.require_device_id is True
    assert options.required_consent == ("Ads", "Sale")
    assert options.timeout == (1.0, 2.5)
    assert options.event_names == {"Level Up": "Level Complete"}
    assert options.retry == RetryPolicy(max_attempts=7)
    assert options.postback_fields == PostbackFields(idfa="apple_id")
    assert load(file=str(path)) == options


def test_options_come_from_the_environment():
    options = load(
        environment={
            "KOCHAVA_SEGMENT_APP_GUID": "koenv",
            "KOCHAVA_SEGMENT_APP_GUIDS": "ios=koios,android=koandroid",
            "KOCHAVA_SEGMENT_REQUIRE_DEVICE_ID": "yes",
            "KOCHAVA_SEGMENT_IDENTITY_TRAITS": "plan, email",
            "KOCHAVA_SEGMENT_HASH_TRAITS": '{"email": "sha256"}',
            "KOCHAVA_SEGMENT_TIMEOUT": "1,2",
            "KOCHAVA_SEGMENT_MAX_RATE": "50",
            "KOCHAVA_SEGMENT_RETRY": "max_attempts=7,deadline=9.5",
            "KOCHAVA_SEGMENT_SOMETHING_ELSE": "of a command's own",
            "KOCHAVA_SEGMENT_HOOKS": "cannot be written as text",
            "OTHER_APP_GUID": "kother",
            "APP_GUID": "kother",
        }
    )
    assert options == load(
        app_guid="koenv",
        app_guids={"ios": "koios", "android": "koandroid"},
        require_device_id=True,
        identity_traits=("plan", "email"),
        hash_traits={"email": "sha256"},
        timeout=(1, 2),
        max_rate=50,
        retry=RetryPolicy(max_attempts=7, deadline=9.5),
    )


def test_keywords_win_over_the_environment_and_that_over_the_file(toml):
    path = toml('app_guid = "kofile"\nscreens = "view"\nnested = "drop"\n')
    environment = {"KOCHAVA_SEGMENT_SCREENS": "named", "KOCHAVA_SEGMENT_APP_GUID": "koenv"}
    options = load(environment=environment, file=path, app_guid="kokey", screens=None)
    assert (options.app_guid, options.screens, options.nested) == ("kokey", "named", "drop")


def test_a_destination_reads_files_and_the_environment(toml, monkeypatch):
    path = toml('app_guid = "kofile"\nscreens = "view"\n')
    for name in ("APP_GUID", "SCREENS", "NESTED"):
        monkeypatch.delenv(ENVIRONMENT_PREFIX + name, raising=False)
    monkeypatch.setenv("KOCHAVA_SEGMENT_SCREENS", "named")
    with KochavaDestination.from_config(path, nested="drop") as destination:
        assert destination.options.app_guid == "kofile"
        assert destination.options.screens == "named"
        assert destination.options.nested == "drop"
    with KochavaDestination.from_env("kokey") as destination:
        assert destination.options.app_guid == "kokey"
        assert destination.options.screens == "named"
    with KochavaDestination("kokey") as destination:  # asks nobody
        assert destination.options.screens == "off"


# Problems


def test_all_problems_of_all_sources_are_told_at_once(toml):
    path = toml('screens = "of"\nno_such = 1\n')
    problems = problems_of(
        file=path,
        environment={
            "KOCHAVA_SEGMENT_SEND_USER_ID": "perhaps",
            "KOCHAVA_SEGMENT_ENDPOINT": "http://a.example",
        },
        nested=5,
        api_key="k",
        max_rate=0,
    )
    assert [name for name, _ in problems] == [
        "screens",
        "no_such",
        "endpoint",
        "send_user_id",
        "nested",
        "max_rate",
        "api_secret",
    ]


def test_problems_say_where_an_option_came_from(toml):
    ((_, detail),) = problems_of(file=toml('screens = "of"'))
    assert detail == "must be one of off, view, named (from the configuration file)"
    ((_, detail),) = problems_of(environment={"KOCHAVA_SEGMENT_SCREENS": "of"})
    assert detail == "must be one of off, view, named (from KOCHAVA_SEGMENT_SCREENS)"
    ((_, detail),) = problems_of(screens="of")
    assert detail == "must be one of off, view, named"


@pytest.mark.parametrize("empty", ["", "  "])
def test_a_variable_that_is_set_and_empty_is_no_default(empty):
    problems = problems_of(
        environment={"KOCHAVA_SEGMENT_ENDPOINT": empty, "KOCHAVA_SEGMENT_OUTBOX": empty},
        endpoint="https://kochava.example",
    )
    assert problems == [
        (name, f"is empty: fill the variable in, or unset it (from KOCHAVA_SEGMENT_{name.upper()})")
        for name in ("endpoint", "outbox")
    ]


def test_credentials_may_be_empty_which_is_none():
    names = ("API_KEY", "API_SECRET", "ACCOUNT_ID", "ACCOUNT_KEY")
    assert load(environment={f"KOCHAVA_SEGMENT_{name}": "" for name in names}) == load()
    assert problems_of(
        environment={"KOCHAVA_SEGMENT_API_KEY": "k", "KOCHAVA_SEGMENT_API_SECRET": ""}
    ) == [("api_secret", "is missing: api_key and api_secret go together")]


def test_a_misspelt_option_is_told_the_right_name():
    assert problems_of(screen="off") == [("screen", "is not an option; did you mean screens?")]
    assert problems_of(xyzzy=1) == [("xyzzy", "is not an option")]


def test_a_file_that_cannot_be_read(tmp_path, toml):
    ((name, detail),) = problems_of(file=tmp_path / "gone.toml")
    assert name == "config"
    assert detail.startswith("cannot be read")
    ((name, detail),) = problems_of(file=toml("a = = b"))
    assert name == "config"
    assert detail.startswith("is not valid TOML")


def test_secrets_are_not_repeated():
    with pytest.raises(ConfigurationError) as caught:
        load(api_key="secret one", api_secret="secret two\n")
    assert [problem.path for problem in caught.value.problems] == ["api_key", "api_secret"]
    assert "secret one" not in str(caught.value)
    assert "secret two" not in repr(caught.value)
    options = load(api_key="visible-key", api_secret="visible-secret")
    assert options.signed is True
    assert "visible" not in repr(options)


# What is wrong between options


@pytest.mark.parametrize(
    ("keywords", "missing"),
    [({"api_key": "k"}, "api_secret"), ({"api_secret": "s"}, "api_key")],
)
def test_credentials_go_together(keywords, missing):
    assert problems_of(**keywords) == [(missing, "is missing: api_key and api_secret go together")]


@pytest.mark.parametrize("trait", ["email", "E-Mail", "phone", "name", "firstName", "birthday"])
def test_personal_traits_have_to_be_hashed(trait):
    ((name, detail),) = problems_of(identity_traits=["plan", trait])
    assert name == "identity_traits"
    assert trait in detail
    assert "sha256" in detail
    load(identity_traits=["plan", trait], hash_traits={trait: "sha256"})


def test_hashes_are_sha256():
    assert problems_of(hash_traits={"email": "md5"}) == [("hash_traits", "of email must be sha256")]


def test_an_event_has_one_kochava_name():
    names = {"Level Up": "A", " level  UP": "B"}
    assert problems_of(event_names=names) == [
        ("event_names", "has two Kochava names for one event")
    ]
    options = load(event_names={"Level Up": "A", " level  UP": "A"})
    assert options.folded_event_names == {"level up": "A"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("postback_fields", {"no_such": "a"}),
        ("postback_fields", {"idfa": ""}),
        ("postback_fields", 5),
        ("retry", 5),
        ("retry", {"no_such": 1}),
        ("retry", {"max_attempts": 0}),
        ("transport", object()),
        ("hooks", 5),
        ("hooks", [object()]),
        ("app_guids", []),
        ("event_names", {"a": 5}),
        ("required_consent", "Ads"),
    ],
)
def test_values_of_other_kinds_are_refused(name, value):
    ((path, _),) = problems_of(**{name: value})
    assert path == name or path.startswith(f"{name}.")


# What the mapping asks


def test_lists_of_properties_as_sets():
    options = load(allow_properties=["a", "b", "a"], deny_properties=["c"])
    assert options.allow_properties == ("a", "b")
    assert options.allowed == {"a", "b"}
    assert options.denied == {"c"}
    assert load().allowed == load().denied == frozenset()
    assert load(allow_properties=[]).allow_properties == ()


def test_every_option_is_described_and_its_secrets_marked():
    for field in attrs.fields(Options):
        assert field.metadata["description"].endswith(".")
        assert field.metadata["kind"].written
    secrets = {field.name for field in attrs.fields(Options) if field.metadata["secret"]}
    assert {"api_key", "api_secret"} <= secrets
    shown = {field.name for field in attrs.fields(Options) if field.repr}
    assert not shown & secrets


def test_a_mapping_for_the_outbox_keeps_its_patience_in_what_it_leaves_out():
    patient = Options.load({}).outbox_retry
    for values, variables in (
        ({"outbox_retry": {"base": 2.0}}, {}),
        ({}, {"KOCHAVA_SEGMENT_OUTBOX_RETRY": "base=2"}),
    ):
        changed = Options.load(values, environment=variables).outbox_retry
        assert changed == attrs.evolve(patient, base=2.0)
    assert Options.load({"retry": {"base": 2.0}}).retry == RetryPolicy(base=2.0)
