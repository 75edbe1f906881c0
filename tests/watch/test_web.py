from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from starlette.testclient import TestClient

from rlreason.errors import MachineError
from rlreason.records import RunFolder
from rlreason.watch import web
from rlreason.watch.feed import Feed
from rlreason.watch.web import make_app, serve
from tests.report.chromium import Page, chromium, find_chromium
from tests.report.synthetic import HOSTILE
from tests.watch.small_run import STEP, draw_problems, tell
from tests.watch.test_terminal import busy_run

TOKEN = "s3cret"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr(web, "LOOK_EVERY_S", 0.0)
    return busy_run(tmp_path)


def client(run: RunFolder, host: str = "127.0.0.1:8000") -> TestClient:
    return TestClient(make_app(Feed(run), TOKEN), base_url=f"http://{host}")


def test_the_view_comes_again_only_when_something_has_changed(run: RunFolder):
    page = client(run)
    first = page.get(f"/{TOKEN}/view.json").json()
    assert (first["focus"], first["charts"][0]["lines"][0]["values"]) == ("rl-0", [0.25, 0.5])
    assert "␛[31mSo: Bob" in first["derivations"][0]["pieces"][1]["text"]
    unchanged = page.get(f"/{TOKEN}/view.json?version={first['version']}")
    assert (unchanged.status_code, unchanged.content) == (204, b"")
    tell(run, "rl-0", [3], reward_mean=0.75)
    second = page.get(f"/{TOKEN}/view.json?version={first['version']}").json()
    assert second["charts"][0]["lines"][0]["values"] == [0.25, 0.5, 0.75]
    assert page.get(f"/{TOKEN}/view.json?version=abc&stage=sft-0").json()["focus"] == "sft-0"


def test_many_pages_make_it_look_no_more_often(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web, "LOOK_EVERY_S", 60.0)
    page = client(run)
    first = page.get(f"/{TOKEN}/view.json").json()
    tell(run, "rl-0", [3], reward_mean=0.75)
    assert page.get(f"/{TOKEN}/view.json?version={first['version']}").status_code == 204


def test_without_the_token_there_is_nothing(run: RunFolder):
    for path in ("/", "/view.json", "/wrong/", "/wrong/view.json", f"/{TOKEN}/../etc/passwd", f"/{TOKEN}/web.py"):
        assert client(run).get(path).status_code == 404


def test_it_can_only_be_read(run: RunFolder):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client(run).request(method, f"/{TOKEN}/view.json").status_code == 405


def test_a_name_that_another_page_lets_point_here_is_refused(run: RunFolder):
    assert client(run, "evil.example:8000").get(f"/{TOKEN}/view.json").status_code == 400
    assert client(run, "localhost:8000").get(f"/{TOKEN}/view.json").status_code == 200


def test_every_answer_carries_the_content_policy(run: RunFolder):
    page = client(run)
    for name in ("", "watch.js", "watch.css", "report.css", "plotly.js", "view.json"):
        answer = page.get(f"/{TOKEN}/{name}")
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy and "frame-ancestors 'none'" in policy
        assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")


def test_nothing_is_asked_of_another_machine():
    page = (Path(web.__file__).parent / "page").glob("*")
    assert not [path.name for path in page if "http://" in path.read_text() or "https://" in path.read_text()]


def test_a_port_that_is_taken_is_named(run: RunFolder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MachineError, match=rf"port {port} cannot be used: Address already in use; give another"):
            serve(Feed(run), port, print)


@pytest.fixture
def address(run: RunFolder) -> Iterator[str]:
    """The page of a run, served as the command does."""
    told: list[str] = []
    known = threading.Event()
    thread = threading.Thread(
        target=serve, args=(Feed(run), 0, lambda given: (told.append(given), known.set())), daemon=True
    )
    thread.start()
    assert known.wait(60)
    yield told[0]


def test_the_command_serves_on_this_machine_alone(address: str):
    assert address.startswith("http://127.0.0.1:") and len(address.rstrip("/").rpartition("/")[2]) >= 20
    with build_opener(ProxyHandler({})).open(address, timeout=60) as answer:
        assert b"rlreason watch" in answer.read()


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium on the path, or $CHROMIUM naming it")
def test_the_page_draws_the_run_follows_it_and_shows_hostile_text_as_text(address: str, run: RunFolder):
    def text(page: Page, selector: str) -> str:
        return page.evaluate(f"document.querySelector('{selector}').textContent")

    with chromium() as page:
        page.call("Page.enable")
        page.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="window.refused = []; "
            "addEventListener('securitypolicyviolation', (event) => refused.push(event.violatedDirective));",
        )
        page.open(address)
        page.wait("document.querySelectorAll('#heat .main-svg').length > 0")
        assert text(page, "#recipe") == "tiny" and text(page, "#focus") == "rl of sft_rl, seed 0"
        titles = page.evaluate("[...document.querySelectorAll('#charts figcaption')].map((each) => each.textContent)")
        assert titles == ["Reward and right answers", "Staleness"]
        assert HOSTILE in text(page, "#derivations .side")
        assert text(page, "#derivations mark.wrong") == f"{STEP}order"
        assert page.evaluate("document.querySelectorAll('main img').length") == 0
        assert page.evaluate("refused") == []

        tell(run, "rl-0", [3], reward_mean=0.75)
        draw_problems(run, 3, [1.0, 1.0])
        page.wait("document.querySelector('#charts .legend').textContent === 'reward 0.75'")
        assert page.evaluate("document.querySelector('#heat .plot').data[0].z[0]") == [0.5, 0.5, 1]

        page.evaluate("document.querySelector('button[data-stage=\"sft-0\"]').click()")
        page.wait("document.getElementById('focus').textContent.startsWith('atomic')")
        assert page.evaluate("document.getElementById('heat-section').hidden")
        page.evaluate("document.getElementById('follow').click()")
        page.wait("document.getElementById('focus').textContent.startsWith('rl of')")
