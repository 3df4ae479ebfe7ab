"""Payloads of Kochava's, spoilt in any way."""

from hypothesis import strategies as st

from tests.emulator.requests import payload

_NAMES = st.sampled_from(
    "action kochava_app_id kochava_device_id data device_id device_ids usertime event_name "
    "event_data app_tracking_transparency gdpr_privacy_consent iad_attribution_details Version3.1 "
    "idfa price source currency".split()
) | st.text(max_size=4)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def spoilt(draw, kinds):
    """A good payload in which something is replaced by anything."""
    message = payload(draw(st.sampled_from(kinds)))
    inner = message
    while True:
        name = draw(st.sampled_from(sorted(inner)) | _NAMES)
        if isinstance(inner.get(name), dict) and inner[name] and draw(st.booleans()):
            inner = inner[name]
            continue
        inner[name] = draw(ANY)
        return message
