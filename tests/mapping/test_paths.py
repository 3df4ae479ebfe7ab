import pytest

from kochava_segment.mapping.paths import join, path_of


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ((), ""),
        (("context",), "context"),
        (("context", "device", "id"), "context.device.id"),
        (("properties", "products", 0, "sku"), "properties.products[0].sku"),
        (("properties", "Größe 2-$x_"), "properties.Größe 2-$x_"),
        (("properties", "ann@mail.example", "a"), "properties.[…].a"),
        (("properties", "a.b"), "properties.[…]"),
        (("properties", ""), "properties.[…]"),
        (("properties", "x" * 65), "properties.[…]"),
        (("properties", "x" * 64), "properties." + "x" * 64),
        (("properties", None), "properties.[…]"),
        (("properties", "a\nb"), "properties.[…]"),
    ],
)
def test_paths(where, path):
    assert path_of(where) == path


def test_join_adds_one_step():
    assert join("", "a") == "a"
    assert join("a", "b") == "a.b"
    assert join("a.b", 3) == "a.b[3]"
