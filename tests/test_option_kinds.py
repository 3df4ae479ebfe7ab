import math

import pytest

from kochava_segment import option_kinds as kinds


@pytest.mark.parametrize(
    ("kind", "value", "checked"),
    [
        (kinds.TEXT, " a b ", "a b"),
        (kinds.SECRET, "k-1/=", "k-1/="),
        (kinds.FLAG, True, True),
        (kinds.NAMES, ["a", "b", "a"], ("a", "b")),
        (kinds.NAMES, ("a",), ("a",)),
        (kinds.NAMES, (name for name in "ab"), ("a", "b")),
        (kinds.NAMES, [], ()),
        (kinds.TEXT_MAPPING, {" a ": " b "}, {"a": "b"}),
        (kinds.TEXT_MAPPING, {}, {}),
        (kinds.POSITIVE, 5, 5.0),
        (kinds.POSITIVE, 0.1, 0.1),
        (kinds.COUNT, 16, 16),
        (kinds.COUNT, 16.0, 16),
        (kinds.TIMEOUT, 3, (3.0, 3.0)),
        (kinds.TIMEOUT, (1, 2.5), (1.0, 2.5)),
        (kinds.TIMEOUT, [1, 2], (1.0, 2.0)),
        (kinds.ENDPOINT, "https://kochava.example/base/", "https://kochava.example/base"),
        (kinds.ENDPOINT, "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (kinds.ENDPOINT, "http://[::1]:8080/", "http://[::1]:8080"),
        (kinds.ENDPOINT, "http://localhost", "http://localhost"),
        (kinds.choice("a", "b"), "b", "b"),
    ],
)
def test_values_are_normalised(kind, value, checked):
    assert kind.check(value) == checked


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((kinds.TEXT, value) for value in ("", "  ", 5, b"x", ["a"])),
        *((kinds.SECRET, value) for value in ("", "a b", "a\n", "ü", "a\x7f", 5, b"x")),
        *((kinds.FLAG, value) for value in ("true", 1, 0, [])),
        *((kinds.NAMES, value) for value in ("a", b"a", {"a": 1}, 5, ["a", ""], ["a", 5], [" "])),
        *((kinds.TEXT_MAPPING, value) for value in ([], "a=b", {"a": ""}, {"": "a"}, {5: "a"})),
        *((kinds.TEXT_MAPPING, value) for value in ({"a": 5}, {"a": " "}, {" ": "a"})),
        *((kinds.POSITIVE, value) for value in (0, -1, True, "5", math.nan, math.inf, None)),
        (kinds.POSITIVE, 10**400),
        *((kinds.COUNT, value) for value in (0, -1, 1.5, True, "5", math.nan, math.inf, None)),
        *(
            (kinds.TIMEOUT, value)
            for value in (0, -1, "3", True, (1,), (1, 2, 3), (1, 0), (1, "2"))
        ),
        *(
            (kinds.ENDPOINT, value)
            for value in (
                "",
                "kochava.example",
                "ftp://kochava.example",
                "https://",
                "https://a.example?b=c",
                "https://a.example#b",
                "https://user:secret@a.example",
                "http://a.example",
                "http://127.0.0.1.a.example",
                "http://10.0.0.1",
                "https://a.example:port",
                5,
            )
        ),
        *((kinds.choice("a", "b"), value) for value in ("c", "A", "", 5)),
    ],
)
def test_other_values_are_refused_without_being_repeated(kind, value):
    with pytest.raises(ValueError) as caught:
        kind.check(value)
    assert str(caught.value).startswith(("must", "is"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "parsed"),
    [
        (kinds.TEXT, "a b", "a b"),
        (kinds.SECRET, " k-1\n", "k-1"),
        *((kinds.FLAG, word, True) for word in ("1", "true", "YES", " on ")),
        *((kinds.FLAG, word, False) for word in ("0", "False", "no", "OFF")),
        (kinds.NAMES, "a, b ,,c", ["a", "b", "c"]),
        (kinds.NAMES, "", []),
        (kinds.NAMES, ' ["a,b", "c"]', ["a,b", "c"]),
        (kinds.TEXT_MAPPING, "a=b, c = d=e ,", {"a": "b", "c": "d=e"}),
        (kinds.TEXT_MAPPING, ' {"a,b": "c"}', {"a,b": "c"}),
        (kinds.POSITIVE, "1.5", 1.5),
        (kinds.TIMEOUT, "3", [3.0, 3.0]),
        (kinds.TIMEOUT, "1, 2.5", [1.0, 2.5]),
        (kinds.ENDPOINT, "https://a.example", "https://a.example"),
        (kinds.choice("a", "b"), " a ", "a"),
    ],
)
def test_text_is_parsed(kind, text, parsed):
    assert kind.parse(text) == parsed


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (kinds.FLAG, "perhaps"),
        (kinds.FLAG, ""),
        (kinds.NAMES, "[a"),
        (kinds.NAMES, "[" * 100_000),
        (kinds.TEXT_MAPPING, "a"),
        (kinds.TEXT_MAPPING, "a=b,c"),
        (kinds.TEXT_MAPPING, "{a"),
        (kinds.POSITIVE, "much"),
        (kinds.TIMEOUT, "1,x"),
    ],
)
def test_text_that_cannot_be_parsed_is_refused(kind, text):
    with pytest.raises(ValueError):
        kind.parse(text)


def test_an_object_cannot_be_written_as_text():
    kind = kinds.instance("a thing", lambda value: value)
    assert kind.parse is None
    assert kind.written == "a thing"
    assert kind.check(5) == 5


def test_kinds_say_how_they_are_written():
    assert kinds.choice("a", "b").written == "a | b"
    assert kinds.NAMES.written == "NAME,NAME"
    assert kinds.TEXT_MAPPING.written == "NAME=VALUE,NAME=VALUE"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_addresses(host, loopback):
    assert kinds.is_loopback(host) is loopback
