import time

import pytest

from kochava_segment.names import (
    fold_name,
    is_personal_property,
    is_personal_trait,
    looks_like_email,
)


@pytest.mark.parametrize(
    "name", ["Order Completed", " order  completed\t", "ORDER\nCOMPLETED", "order completed"]
)
def test_names_are_compared_without_case_and_runs_of_white_space(name):
    assert fold_name(name) == "order completed"


def test_endless_names_are_folded_too():
    assert fold_name(" A  b" * 1000) == " ".join(["a b"] * 1000)


@pytest.mark.parametrize(
    "name",
    "email E-Mail e_mail emailAddress phone phoneNumber phone.number address birthday birthDate "
    "date_of_birth firstName first_name FIRST-NAME lastName full_name".split(),
)
def test_names_of_personal_data(name):
    assert is_personal_trait(name)
    assert is_personal_property(name)


@pytest.mark.parametrize("name", ["plan", "emails_sent", "phone_model", "", "x" * 1000])
def test_names_of_other_data(name):
    assert not is_personal_trait(name)
    assert not is_personal_property(name)


@pytest.mark.parametrize("name", ["name", "Name", " name"])
def test_name_is_a_person_s_as_a_trait_and_a_product_s_as_a_property(name):
    assert is_personal_trait(name)
    assert not is_personal_property(name)


@pytest.mark.parametrize(
    "value", ["a@b.co", " Ann.Lee+x@mail.example ", "ü@ü.example", "a@b.c.d", "x" * 60 + "@b.co"]
)
def test_e_mail_addresses(value):
    assert looks_like_email(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "@",
        "a@b",
        "a@b.",
        "@b.co",
        "a b@c.co",
        "a@b@c.co",
        "to a@b.co",
        "a@" + "b" * 400 + ".co",
    ],
)
def test_other_text(value):
    assert not looks_like_email(value)


def test_text_that_nearly_is_an_address_is_told_apart_at_once():
    started = time.perf_counter()
    assert not looks_like_email("a@" + "." * 1_000_000 + "@")
    assert time.perf_counter() - started < 1
