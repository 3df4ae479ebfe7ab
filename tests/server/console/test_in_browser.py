"""What people do in a real browser; skipped with a reason where there is none."""

import json
import time
from pathlib import Path

import pytest

from kochava_segment.delivery.outbox_inspection import EntryFilter, entries
from kochava_segment.emulator import Faults
from tests.messages import IDFA, ios
from tests.server.console.running_console import TOKEN, running_console

pytestmark = pytest.mark.slow  # a browser takes its time

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
WITHIN = 10.0  # seconds
PURCHASE = ios(event="Order Completed", properties={"revenue": "9.99", "network": "x"})
# What the driver says of an element whose page was just replaced; the second while it is looked at.
JUST_REPLACED = ("stale element", "does not belong to the document")


class Person:
    """Somebody who looks, types and clicks."""

    def __init__(self, browser, url):
        self.browser = browser
        self.url = url

    def go(self, path):
        self.browser.get(f"{self.url}/console{path}")

    def find(self, selector):
        return self.until(lambda: self.browser.find_elements("css selector", selector))[0]

    def click(self, selector):
        element = self.find(selector)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def button(self, text):
        xpath = f"//*[self::button or self::a][normalize-space()={text!r}]"
        self.until(lambda: self.browser.find_elements("xpath", xpath))[0].click()

    def type(self, selector, text):
        self.find(selector).send_keys(text)

    def keys(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def sees(self, text):
        """Wait until a text is to be seen."""
        self.until(lambda: text in self.find("body").text, text)

    def until(self, condition, what="what was looked for"):
        from selenium.common.exceptions import WebDriverException

        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            try:
                if found := condition():
                    return found
            except WebDriverException as error:
                if not any(said in str(error.msg) for said in JUST_REPLACED):
                    raise
            time.sleep(0.02)
        raise AssertionError(f"{what} is not there: {self.browser.current_url}")

    def paste(self, message):
        """Put a message into the tester as pasting does."""
        self.browser.execute_script(
            "const box = arguments[0]; box.focus(); box.select();"
            "document.execCommand('insertText', false, arguments[1]);",
            self.find("#message"),
            json.dumps(message),
        )

    def complaints(self):
        """What the browser has logged since it was last asked, hints on passwords aside."""
        return [
            entry["message"]
            for entry in self.browser.get_log("browser")
            if entry["level"] not in ("DEBUG", "INFO")
        ]


@pytest.fixture
def stranger(chromium, console):
    chromium.delete_all_cookies()
    _set_media(chromium, 1280, "light")
    one = Person(chromium, console.url)
    one.go("/login")
    chromium.delete_all_cookies()
    one.go("/login")
    one.complaints()
    yield one
    assert one.complaints() == []  # violations of the policy are among them


@pytest.fixture
def person(stranger):
    stranger.type("#token", TOKEN + "\n")
    stranger.sees("Segment message")
    return stranger


def _set_media(browser, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def _fail(console, *names):
    console.kochava.faults = Faults(error_rate=1.0, error_status=400)
    console.receive(*(ios(messageId=name) for name in names))
    console.kochava.faults = Faults()


def _states(console):
    found = entries(console.destination.outbox, EntryFilter())
    return {entry.message_id: entry.state for entry in found}


def test_logging_in_and_out(stranger):
    stranger.type("#token", TOKEN)
    stranger.button("Log in")
    stranger.sees("Segment message")
    (cookie,) = stranger.browser.get_cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert stranger.browser.execute_script("return document.cookie") == ""
    stranger.button("Log out")
    stranger.sees("Console token")
    stranger.go("/failures")
    stranger.sees("Console token")


def test_a_pasted_message_is_mapped_at_once(person):
    person.paste(PURCHASE)
    person.sees("data.event_data.price")
    person.sees("reserved-key")
    said = person.find("#said")  # what a screen reader says
    assert said.get_attribute("role") == "status"
    assert said.get_attribute("textContent") == "Mapped: event, 18 fields, 1 warning"
    person.paste({"type": "group"})
    person.sees("Not supported")
    person.paste(ios(event=""))
    person.sees("is missing")


def test_a_field_says_where_it_is_from_when_it_is_focused_or_pointed_at(person):
    from selenium.webdriver import ActionChains, Keys

    person.paste(PURCHASE)
    person.sees("data.event_data.price")
    price = "//li[button/span[normalize-space()='data.event_data.price']]"
    field = person.browser.find_element("xpath", price)
    origin = field.find_element("css selector", ".origin")
    assert not origin.is_displayed()
    person.browser.execute_script(
        "arguments[0].focus()", field.find_element("css selector", "button")
    )
    assert origin.is_displayed()
    assert "from properties.revenue" in origin.text
    person.keys(Keys.ESCAPE)
    assert not origin.is_displayed()
    ActionChains(person.browser).move_to_element(field).perform()
    person.until(origin.is_displayed)


def test_options_are_tried_as_they_are_changed(person):
    person.paste({**ios(), "type": "screen", "name": "Home"})
    person.sees("SCREENS_OFF")
    person.click("#options summary")
    person.type("#option-screens", "named")
    person.sees("screen view Home")
    person.type("#option-hash_traits", "nonsense")
    person.sees("hash_traits must be written")


def test_what_is_open_stays_open_while_one_types(person):
    person.paste(PURCHASE)
    person.click("#as-curl summary")
    person.sees("--data-raw")
    person.paste(ios(event="Another"))
    person.sees('"Another"')
    assert person.find("#as-curl").get_attribute("open")


def test_a_snippet_is_copied(person):
    person.browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    person.paste(PURCHASE)
    person.click("#as-python summary")
    person.click("#as-python .copy")
    person.sees("Copied")
    copied = person.browser.execute_async_script(
        "navigator.clipboard.readText().then(arguments[arguments.length - 1])"
    )
    assert "def test_order_completed_is_mapped():" in copied


def test_a_message_is_sent_to_the_emulator_and_then_for_real(console, person):
    person.paste(PURCHASE)
    person.sees("data.event_data.price")
    person.button("Send to the emulator")
    person.sees("The emulator took it: status 200")
    assert console.kochava.counted == 0
    person.click(".actions button:nth-of-type(2)")
    person.sees("it cannot be taken back")
    person.click("input[name=sure]")
    person.button("Send")
    person.sees("Kochava took it: status 200")
    assert console.kochava.counted == 1


def test_a_failure_is_found_read_revealed_and_retried(console, person):
    _fail(console, "bad-1", "bad-2")
    person.go("/failures")
    person.sees("bad-2")
    person.type("#reason", "refused\n")
    person.sees("2 requests match")
    person.click(".entries th a")
    person.sees("Kochava refused the request")
    assert IDFA not in person.browser.page_source
    person.button("Reveal identifiers")
    person.sees(IDFA)
    person.button("Retry…")
    person.sees("Send 1 request again?")
    person.button("Retry")
    person.sees("1 request will be sent again.")
    console.destination.flush(10)
    assert sorted(_states(console).values()) == ["delivered", "rejected"]


def test_all_failures_are_discarded(console, person):
    _fail(console, "bad-1", "bad-2")
    person.go("/failures")
    person.button("Discard all 2…")
    person.sees("Give up on 2 requests?")
    person.button("Discard")
    person.sees("2 requests discarded.")
    assert set(_states(console).values()) == {"discarded"}


def test_a_user_is_looked_up_and_forgotten(console, person):
    console.receive(ios())
    person.go("/devices")
    person.type("#user_id", "u-42\n")
    person.sees("1 device")
    person.button("Forget this user…")
    person.sees("Forget this user?")
    person.click("input[name=sure]")
    person.button("Forget")
    person.sees("Devices removed from the directory")
    person.go("/devices")
    person.type("#user_id", "u-42\n")
    person.sees("0 devices")


@pytest.mark.slow  # for it waits
def test_delivery_updates_itself_and_keeps_what_is_open(console, person):
    person.go("/delivery")
    person.sees("0 accepted")
    person.click("#chart-table summary")
    person.browser.execute_script("document.getElementById('chart-summary').focus()")
    console.receive(ios())
    person.sees("1 accepted")
    assert person.find("#chart-table").get_attribute("open")
    assert person.browser.switch_to.active_element.get_attribute("id") == "chart-summary"


@pytest.mark.slow  # for it waits
def test_delivery_leads_to_the_login_when_the_session_is_over(person):
    person.go("/delivery")
    person.sees("Latency")
    person.browser.delete_all_cookies()
    person.sees("Console token")
    assert [one for one in person.complaints() if "401" not in one] == []


def test_everything_can_be_reached_by_keys(console, person):
    from selenium.webdriver import Keys

    _fail(console, "bad-1")
    person.keys("gf")
    person.sees("1 request match")
    person.keys("gd")
    person.sees("Latency")
    person.keys("gu")
    person.sees("Devices and deletions")
    person.keys("?")
    person.sees("Keys without")
    person.keys("gt")
    person.sees("Segment message")
    person.keys("/")
    focused = person.browser.switch_to.active_element
    assert focused.get_attribute("id") == "message"
    person.keys("gd")  # in a text field these are letters
    assert focused.get_attribute("value") == "gd"
    person.keys(Keys.ESCAPE)
    person.go("/failures")
    person.keys(Keys.TAB)
    skip = person.browser.switch_to.active_element
    assert skip.text == "Skip to the page"
    assert skip.is_displayed()
    person.keys(Keys.ENTER)
    for _ in range(40):
        person.keys(Keys.TAB)
        if person.browser.switch_to.active_element.text == "Retry all 1…":
            break
    person.keys(Keys.ENTER)
    person.sees("Send 1 request again?")


def test_control_enter_maps_at_once(person):
    from selenium.webdriver import ActionChains, Keys

    person.browser.execute_script(
        "document.getElementById('message').value = arguments[0]", json.dumps(PURCHASE)
    )
    ActionChains(person.browser).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(
        Keys.CONTROL
    ).perform()
    person.sees("data.event_data.price")


def test_a_script_in_a_message_does_not_run(person):
    attack = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    person.paste(ios(event=attack, properties={attack: attack}))
    person.sees("onerror")
    assert not person.browser.find_elements("css selector", "#result img, #result script")


@pytest.mark.slow  # fourteen pages, each in three ways
def test_every_page_is_accessible_and_fits(console, person):
    console.receive(ios(), ios(messageId="off", integrations={"Kochava": False}))
    _fail(console, "bad-1")
    console.kochava.faults = Faults(error_rate=1.0, error_status=401)
    console.receive(ios(messageId="locked", integrations={"Kochava": {"app_guid": "koother"}}))
    number = next(entries(console.destination.outbox, EntryFilter(message_id="bad-1"))).id

    def tester():
        person.go("/tester?sample=3")
        person.click("#options summary")
        for name in ("json", "curl", "python"):
            person.click(f"#as-{name} summary")

    def paste(message):
        person.go("/tester")
        person.paste(message)
        person.until(lambda: "The request appears here" not in person.find("#result").text)

    def look_up():
        person.go("/devices")
        person.type("#user_id", "u-42\n")
        person.sees("Last seen")

    def forget():
        look_up()
        person.button("Forget this user…")
        person.sees("Forget this user?")

    def send():
        person.go("/tester?sample=3")
        person.click(".actions button:nth-of-type(2)")
        person.sees("it cannot be taken back")

    visits = {
        "tester": tester,
        "warnings": lambda: paste(PURCHASE),
        "invalid": lambda: paste(ios(event="")),
        "filtered": lambda: paste(ios(integrations={"Kochava": False})),
        "send": send,
        "delivery": lambda: person.go("/delivery"),
        "failures": lambda: person.go("/failures"),
        "nothing found": lambda: person.go("/failures?reason=none"),
        "one": lambda: person.go(f"/failures/{number}"),
        "confirm": lambda: person.go("/failures/confirm?do=discard&state=rejected"),
        "devices": look_up,
        "forget": forget,
        "help": lambda: person.go("/help"),
    }
    problems = []
    for name, visit in visits.items():
        _set_media(person.browser, 1280, "light")
        visit()
        problems += _problems(person.browser, name)
    person.browser.delete_all_cookies()
    person.go("/login")
    problems += _problems(person.browser, "login")
    assert problems == []


def _problems(browser, name):
    """What is wrong with a page in all ways of looking at it."""
    browser.execute_script(AXE)
    found = []
    for width, scheme in ((1280, "light"), (1280, "dark"), (400, "light")):
        _set_media(browser, width, scheme)
        found += [f"{name}, {width} px, {scheme}: {one}" for one in _violations(browser)]
        too_wide = browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if too_wide > 0:
            found.append(f"{name}: {too_wide} px too wide for {width} px")
    return found


def _violations(browser):
    results = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run().then((results) => done(results.violations), (error) => done(String(error)))"
    )
    assert isinstance(results, list), results
    return [
        f"{one['id']}: {node['html'][:120]} {node['failureSummary']}"
        for one in results
        for node in one["nodes"]
    ]


def test_the_browser_notices_what_the_policy_forbids(chromium, tmp_path):
    """Or else no violation would be found above either."""
    with running_console(tmp_path) as running:
        one = Person(chromium, running.url)
        one.go("/login")
        one.complaints()
        chromium.execute_script("document.body.setAttribute('onclick', 'alert(1)')")
        chromium.execute_script(
            "const made = document.createElement('script'); made.textContent = '1';"
            "document.body.append(made)"
        )
        assert any("Content Security Policy" in message for message in one.complaints())
