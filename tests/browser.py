"""A real browser, for the tests that look at pages as people do."""

import os
import shutil
import tempfile

import pytest

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --window-size=1280,900 --no-proxy-server"
).split()
# Browsers call their makers, whatever flags say otherwise.
_ONLY_THIS_MACHINE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"


def _found(variable, *names):
    return os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def chromium():
    """A real browser with a profile of its own."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="the browser tests need selenium: pip install selenium"
    )
    binary = _found("CHROMIUM", "chromium", "chromium-browser", "google-chrome")
    driver = _found("CHROMEDRIVER", "chromedriver")
    if binary is None or driver is None:
        pytest.skip(
            "no chromium and chromedriver here: apt-get install chromium chromium-driver, or set "
            "CHROMIUM and CHROMEDRIVER to their paths"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, _ONLY_THIS_MACHINE, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            yield browser
        finally:
            browser.quit()
