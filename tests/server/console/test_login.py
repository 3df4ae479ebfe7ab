import re

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from kochava_segment import KochavaDestination
from kochava_segment.server import create_app
from kochava_segment.server.console import sessions
from kochava_segment.server.console.sessions import Sessions
from tests.server.console.running_console import TOKEN, Visitor, running_console, served, text_of

PAGES = ("/tester", "/delivery", "/failures", "/failures/1", "/devices", "/help")
CHANGES = (
    "/tester",
    "/tester/emulator",
    "/tester/confirm",
    "/tester/send",
    "/failures/retry",
    "/failures/discard",
    "/failures/export",
    "/failures/1",
    "/devices",
    "/devices/confirm",
    "/devices/forget",
    "/logout",
)


@pytest.fixture
def console(shared_console):
    return shared_console


@pytest.fixture
def stranger(console):
    one = Visitor(console.url)
    yield one
    one.close()


def test_without_a_console_token_there_is_no_console(tmp_path):
    with (
        KochavaDestination("koexample", outbox=tmp_path / "outbox", relay=False) as destination,
        served(create_app(destination)) as url,
    ):
        one = Visitor(url)
        assert one.get("/login").status_code == 404
        assert one.get("/").status_code == 404
        one.close()


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_is_sent_to_the_login(stranger, path):
    answer = stranger.get(path, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/login")
    assert not answer.content


@pytest.mark.parametrize("path", CHANGES)
def test_a_stranger_changes_nothing(stranger, path):
    answer = stranger.post(path, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/login")


def test_a_part_of_a_page_sends_the_whole_page_to_the_login(stranger):
    answer = stranger.get("/delivery", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/console/login")


def test_the_token_opens_all_pages(visitor):
    for path in PAGES:
        answer = visitor.get(path)
        assert answer.status_code == (404 if path == "/failures/1" else 200), path


def test_the_cookie_is_for_these_pages_alone_and_no_script(stranger):
    answer = stranger.post("/login", {"token": TOKEN}, allow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/console" in cookie
    assert "Secure" not in cookie
    assert TOKEN not in cookie


def test_the_cookie_is_secure_where_the_browser_speaks_tls(stranger):
    origin = stranger.url.replace("http:", "https:")  # as behind a proxy
    answer = stranger.post("/login", {"token": TOKEN}, origin=origin, allow_redirects=False)
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "token", ["", "x", TOKEN + "x", TOKEN[:-1], "ü", "\ud800".encode("utf-8", "surrogatepass")]
)
@pytest.mark.usefixtures("visitor")  # a right token before each, so that none has to wait
def test_a_wrong_token_opens_nothing(stranger, token):
    answer = stranger.post("/login", {"token": token})
    assert answer.status_code == 401
    assert "That is not the token" in text_of(answer)
    assert not answer.cookies


def test_too_many_wrong_tokens_have_to_wait_and_the_right_one_with_them(tmp_path):
    with running_console(tmp_path) as running:
        stranger = Visitor(running.url)
        _check_that_wrong_tokens_have_to_wait(stranger)
        stranger.close()


def _check_that_wrong_tokens_have_to_wait(stranger):
    for _ in range(5):
        assert stranger.post("/login", {"token": "wrong"}).status_code == 401
    answer = stranger.post("/login", {"token": TOKEN})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 61
    assert not answer.cookies


def test_waiting_ends(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now[0])
    some = Sessions(TOKEN)
    for _ in range(5):
        assert some.log_in("wrong", "one") is None
    assert some.seconds_to_wait("one") > 0
    assert some.seconds_to_wait("another") == 0
    now[0] += 61
    assert some.seconds_to_wait("one") == 0


def test_wrong_tokens_of_many_clients_count_together():
    some = Sessions(TOKEN)
    for number in range(50):
        some.log_in("wrong", f"client {number}")
    assert some.seconds_to_wait("a new one") > 0


def test_a_session_ends_by_itself(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now[0])
    some = Sessions(TOKEN)
    number = some.log_in(TOKEN, "one")
    assert some.get(number) is not None
    now[0] += sessions.LASTS + 1
    assert some.get(number) is None


def test_sessions_are_bounded():
    some = Sessions(TOKEN)
    numbers = [some.log_in(TOKEN, "one") for _ in range(201)]
    assert some.get(numbers[0]) is None
    assert some.get(numbers[-1]) is not None


def test_after_logging_out_the_cookie_opens_nothing(visitor):
    cookie = visitor.session.cookies["kochava_segment_console"]
    assert visitor.post("/logout").url.endswith("/login")
    answer = visitor.get(
        "/tester", headers={"Cookie": f"kochava_segment_console={cookie}"}, allow_redirects=False
    )
    assert answer.status_code == 303


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("csrf", ["", "wrong"])
def test_a_change_without_the_word_of_the_session_is_refused(visitor, path, csrf):
    answer = visitor.post(path, csrf=csrf)
    assert answer.status_code == 403
    assert "this page is too old" in text_of(answer).lower()


@pytest.mark.parametrize("path", [*CHANGES, "/login"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
def test_a_change_from_another_site_is_refused(visitor, path, origin):
    answer = visitor.post(path, {"token": TOKEN}, origin=origin)
    assert answer.status_code == 403
    assert "did not come from a page of this console" in text_of(answer)


def test_another_session_has_another_word(console, visitor):
    other = Visitor(console.url).log_in()
    assert other.csrf != visitor.csrf
    assert visitor.post("/failures/retry", csrf=other.csrf).status_code == 403
    other.close()


@pytest.mark.parametrize("path", ["/login", *PAGES, "/nothing", "/failures/export"])
def test_every_answer_is_guarded(visitor, path):
    headers = visitor.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/login", *PAGES, "/nothing"])
def test_pages_have_no_inline_script_or_style_and_nothing_from_elsewhere(visitor, path):
    text = visitor.get(path).text
    assert not re.search(r"<style|\sstyle=|\son\w+=", text)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", text))
    addresses = re.findall(r'(?:src|href|action|formaction|hx-\w+)="([^"]*)"', text)
    assert addresses
    assert not [one for one in addresses if "//" in one]


@pytest.mark.parametrize("name", ["console.css", "console.js", "htmx.min.js", "icon.svg"])
def test_static_files_are_there_for_long(console, name):
    one = Visitor(console.url)
    answer = one.get(f"/static/{name}")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    one.close()


@pytest.mark.parametrize("name", ["..%2ftemplates%2fbase.html", "..%2fapp.py", "nothing.js"])
def test_other_files_are_not_there(visitor, name):
    assert visitor.get(f"/static/{name}").status_code == 404


def test_a_form_that_is_too_large_is_refused(visitor):
    answer = visitor.post("/tester", {"message": "x" * 600_000})
    assert answer.status_code == 413


def test_a_form_of_another_kind_is_refused(visitor):
    answer = visitor.post("/tester", headers={"Content-Type": "application/json"})
    assert answer.status_code == 415


def test_it_works_inside_of_another_application(tmp_path):
    with KochavaDestination("koexample", outbox=tmp_path / "outbox", relay=False) as destination:
        inner = create_app(destination, console_token=TOKEN)
        with served(Starlette(routes=[Mount("/tools", inner)])) as url:
            one = Visitor(url, prefix="/tools/console").log_in()
            page = one.get("/delivery")
            assert page.status_code == 200
            assert 'href="/tools/console/failures"' in page.text
            one.close()


def test_devices_are_there_only_where_the_directory_is_on(tmp_path):
    with running_console(tmp_path) as running:
        one = Visitor(running.url).log_in()
        assert one.get("/devices").status_code == 404
        assert "/console/devices" not in one.get("/tester").text
        one.close()
