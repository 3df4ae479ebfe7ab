"""Proxies and CA certificates from the environment, as the requests library reads them."""

from __future__ import annotations

import os.path

from attrs import frozen

from kochava_segment.delivery.after_fork import imports_in_a_thread
from kochava_segment.delivery.answer import TransportFailure


@frozen(kw_only=True)
class NetworkSettings:
    """How to get to an origin.

    Attributes:
        proxies: Proxies by scheme, as requests takes them.
        proxy: The one for this origin, None to go there directly.
        ca_bundle: A file or folder of certificates; None for those of certifi.
    """

    proxies: dict[str, str]
    proxy: str | None
    ca_bundle: str | None


def network_settings(url: str) -> NetworkSettings:
    """The settings for a URL.

    Raises:
        TransportFailure: if the environment names certificates that are not there.
    """
    with imports_in_a_thread():
        import requests  # noqa: PLC0415  # other transports need it here only
        from requests.utils import select_proxy  # noqa: PLC0415

    with requests.Session() as session:
        merged = session.merge_environment_settings(url, {}, None, None, None)
    # An empty REQUESTS_CA_BUNDLE, or anything else that is not a path, never turns verification off.
    bundle = merged["verify"] if isinstance(merged["verify"], str) else None
    if bundle is not None and not os.path.exists(bundle):  # noqa: PTH110  # as requests does
        detail = "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names a file that is not there"
        raise TransportFailure(detail, maybe_sent=False)
    proxies = dict(merged["proxies"])
    return NetworkSettings(proxies=proxies, proxy=select_proxy(url, proxies), ca_bundle=bundle)
