"""What holds for every message, found out with Hypothesis."""

import copy
import json
from functools import wraps

import pytest
from hypothesis import HealthCheck, given, settings

from kochava_segment import KochavaDestination, KochavaSegmentError
from kochava_segment.emulator.checks import IDENTITY_LINK_KIND, check
from kochava_segment.emulator.rule import Sent
from kochava_segment.mapping.mapper import map_message
from kochava_segment.names import looks_like_email
from kochava_segment.options import Options
from tests import strategies as some
from tests.long import many

HOW_MANY = [
    pytest.param(150, id="some"),
    pytest.param(many(10_000), id="many", marks=pytest.mark.slow),
]


def holds_for(**strategies):
    """Make a test of a property: with a few examples, and with 10,000 as a slow test."""

    def decorate(property_holds):
        @pytest.mark.parametrize("examples", HOW_MANY)
        @wraps(property_holds)
        def test(examples):
            few = examples < 1000
            limits = settings(
                max_examples=examples,
                deadline=None,
                derandomize=few,  # the fast suite says the same thing twice
                database=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            )
            limits(given(**strategies)(property_holds))()

        del test.__wrapped__  # pytest would take the property's arguments for fixtures
        return test

    return decorate


def told_by(error):
    """What an error says: something, in any case."""
    assert str(error)
    return str(error), getattr(error, "problems", ())


def load(options):
    return Options.load({"app_guid": "koapp", **options})


def mapped(message, options):
    """The request, or None for a message that gives none."""
    try:
        return map_message(message, load(options))
    except KochavaSegmentError:
        return None


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings_in(item)


def scalars_in(value, path=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from scalars_in(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from scalars_in(item, f"{path}[{index}]")
    else:
        yield path


@holds_for(message=some.anything, options=some.options | some.signed_options)
def test_any_value_gives_a_request_or_an_error_of_the_tree(message, options):
    try:
        request = map_message(message, load(options))
    except KochavaSegmentError as error:
        told_by(error)
    else:
        assert json.loads(request.body) == request.payload


@holds_for(message=some.with_anything_inside(), options=some.options)
def test_no_message_is_changed(message, options):
    before = copy.deepcopy(message)
    mapped(message, options)
    assert repr(message) == repr(before)


@holds_for(message=some.with_anything_inside(), options=some.options)
def test_equal_messages_give_equal_requests_in_whatever_order_their_keys_are(message, options):
    request = mapped(message, options)
    assert mapped(copy.deepcopy(message), options) == request
    assert mapped(some.reordered(message), options) == request


@holds_for(message=some.messages, options=some.options | some.signed_options)
def test_every_request_is_as_kochava_s_documents_ask(message, options):
    request = mapped(message, options)
    if request is None:
        return
    signed = "api_key" in options
    sent = Sent.of(request.payload, request.headers, request.body, signed=signed)
    complaints = check(sent, IDENTITY_LINK_KIND if request.action == "identity_link" else None)
    assert [str(complaint) for complaint in complaints if complaint.severity == "error"] == []
    codes = {complaint.code for complaint in complaints}
    assert not codes & {"signed-slash", "signed-not-ascii", "signed-spaces", "plain-identity"}


@holds_for(message=some.with_anything_inside(), options=some.signed_options)
def test_signed_bodies_are_ascii_with_escaped_slashes_and_no_empty_objects(message, options):
    request = mapped(message, options)
    if request is None:
        return
    assert request.body.isascii()
    assert b"/" not in request.body.replace(b"\\/", b"")
    assert b"{}" not in json.dumps(request.payload, separators=(",", ":")).encode()
    unsigned = {key: options[key] for key in options if not key.startswith("api_")}
    readable = mapped(message, unsigned)
    assert readable is not None
    assert list(strings_in(readable.payload)) == list(strings_in(request.payload))


@holds_for(message=some.messages, options=some.options)
def test_e_mail_addresses_do_not_reach_kochava(message, options):
    request = mapped(message, options)
    if request is not None:
        assert not [text for text in strings_in(request.payload) if looks_like_email(text)]


@holds_for(message=some.marked, options=some.options)
def test_errors_and_warnings_do_not_repeat_values(message, options):
    try:
        # Errors name the messageId, which is what they are looked up by.
        told = map_message({**message, "messageId": None}, load(options)).warnings
    except KochavaSegmentError as error:
        told = told_by(error)
    assert some.MARK not in repr(told)


@holds_for(message=some.messages, options=some.options | some.signed_options)
def test_explain_covers_every_scalar_of_the_body(message, options):
    with KochavaDestination("koapp", **options) as destination:
        try:
            explanation = destination.explain(message)
        except KochavaSegmentError:
            return
    explained = tuple(field.field for field in explanation.fields)
    for path in scalars_in(explanation.request.payload):
        assert any(
            path == field or path.startswith((f"{field}.", f"{field}[")) for field in explained
        )
    assert str(explanation)


@holds_for(message=some.with_anything_inside(), options=some.options)
def test_explain_takes_what_map_takes(message, options):
    with KochavaDestination("koapp", **options) as destination:
        if mapped(message, options) is not None:
            assert destination.explain(message).request == destination.map(message)


@holds_for(postback=some.json_values | some.postbacks)
def test_any_postback_gives_a_message_or_an_error_of_the_tree(postback):
    before = repr(postback)
    with KochavaDestination("koapp") as destination:
        try:
            message = destination.install_attribution(postback)
        except KochavaSegmentError as error:
            told_by(error)
        else:
            json.dumps(message, allow_nan=False).encode()
            assert message["integrations"] == {"Kochava": False}
            assert message.get("userId") or message.get("anonymousId")
    assert repr(postback) == before


@holds_for(postback=some.postbacks)
def test_equal_postbacks_give_equal_messages(postback):
    with KochavaDestination("koapp") as destination:
        try:
            message = destination.install_attribution(postback)
        except KochavaSegmentError:
            return
        assert destination.install_attribution(some.reordered(postback)) == message


@holds_for(attribution=some.json_values | some.attributions)
def test_any_attribution_gives_a_context_or_an_error_of_the_tree(attribution):
    before = repr(attribution)
    with KochavaDestination("koapp") as destination:
        try:
            context = destination.apple_search_ads_context(attribution)
        except KochavaSegmentError as error:
            told_by(error)
        else:
            campaign = context.get("campaign", {})
            assert all(isinstance(value, str) and value for value in campaign.values())
            assert "unknown" not in campaign.values()
            json.dumps(context).encode()
    assert repr(attribution) == before
