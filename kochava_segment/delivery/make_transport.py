"""Which transport a destination gets: the one that was asked for, or the fastest that is there."""

from __future__ import annotations

from kochava_segment.delivery.transport import Transport
from kochava_segment.errors import ConfigurationError, Problem

_NO_PYCURL = (
    "pycurl is not installed, or too old, or its libcurl is not there: "
    "pip install 'kochava-segment[fast]'"
)


def make_transport(wanted: Transport | str | None, timeout: tuple[float, float]) -> Transport:
    """The transport for the option `transport`.

    Args:
        wanted: The option: a transport, the name of one, or None for the fastest.
        timeout: Seconds to wait for a connection, and for the whole answer.

    Raises:
        ConfigurationError: if pycurl is wanted and not installed.
    """
    if wanted is not None and not isinstance(wanted, str):
        return wanted
    if wanted != "requests":
        try:
            from kochava_segment.delivery.pycurl_transport import (  # noqa: PLC0415  # an extra
                PycurlTransport,
            )
        except ImportError:
            if wanted is not None:
                raise ConfigurationError([Problem("transport", _NO_PYCURL)]) from None
        else:
            return PycurlTransport(timeout=timeout)
    from kochava_segment.delivery.requests_transport import (  # noqa: PLC0415  # half of the start
        RequestsTransport,
    )

    return RequestsTransport(timeout=timeout)
