"""Forms as browsers post them, and queries: both are names with values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from attrs import field, frozen
from starlette.requests import Request

from kochava_segment.server.answers import Refusal
from kochava_segment.server.body import check_content_type, read_body

MAX_FORM_BYTES = 512 * 1024
"""Of a form, encoded. Segment takes messages of 32 KB."""

_MOST_FIELDS = 1_000


@frozen
class Form:
    """Names and their values."""

    values: Mapping[str, Sequence[str]] = field(factory=dict, repr=False)

    def get(self, name: str, default: str = "") -> str:
        """The first value of a name."""
        return self.values.get(name, (default,))[0]

    def all(self, name: str) -> tuple[str, ...]:
        """All its values."""
        return tuple(self.values.get(name, ()))

    def __contains__(self, name: object) -> bool:
        return name in self.values


def parse_form(text: str) -> Form:
    """Read what a browser encoded.

    Raises:
        Refusal: if it has too many fields.
    """
    try:
        # What is no UTF-8 in it becomes a replacement character: nothing here is to be exact.
        return Form(parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise Refusal(400, "the form has too many fields") from None


async def read_form(request: Request) -> Form:
    """The form that a request posts.

    Raises:
        Refusal: if it is too large, or no form.
    """
    check_content_type(request, "application/x-www-form-urlencoded")
    body = await read_body(request, MAX_FORM_BYTES)
    return parse_form(body.content.decode("ascii", "replace"))
