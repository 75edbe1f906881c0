"""The page in a real browser: filters, links, keys, and that hostile text stays text."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.chromium import Page, chromium, find_chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="needs Chromium on the path, or $CHROMIUM naming it"),
]

PROBLEMS = "[...document.querySelectorAll('article.problem:not([hidden])')].map((each) => each.dataset.problem)"
SIDES = "[...document.querySelectorAll('article.problem:not([hidden]) .side:not([hidden])')]"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as page:
        yield page


@pytest.fixture
def address(plain_page: Path) -> str:
    return plain_page.as_uri()


def choose(page: Page, **wanted: str) -> None:
    """Choose in the filters as a person does: a value, then the event that a choice makes."""
    for name, value in wanted.items():
        page.evaluate(
            f"(() => {{ const field = document.getElementById('browse').elements['{name}']; field.value = {value!r};"
            " field.dispatchEvent(new Event('change', { bubbles: true })); })()"
        )


def test_it_begins_with_two_arms_side_by_side_on_the_first_level(page, address):
    page.open(address)
    assert page.evaluate(PROBLEMS) == [f"iid/{n}" for n in range(10)]
    arms = page.evaluate(f"{SIDES}.slice(0, 2).map((side) => [side.dataset.arm, side.dataset.sample])")
    assert arms == [["sft", "greedy"], ["sft_rl", "greedy"]]
    assert page.evaluate("document.querySelector('#browse output').textContent") == "10 of 20 problems"


def test_filters_show_what_they_say(page, address):
    page.open(address)
    choose(page, outcome="wrong")
    # sft: 0 and 1 right with wrong steps, 2 to 4 right, 5 to 8 wrong, 9 not judged
    assert page.evaluate(PROBLEMS) == [f"iid/{n}" for n in range(5, 9)]
    choose(page, outcome="right answer, wrong steps")
    assert page.evaluate(PROBLEMS) == ["iid/0", "iid/1"]
    choose(page, outcome="", error="context_hop")
    assert page.evaluate(PROBLEMS) == [f"iid/{n}" for n in (0, 1, 5, 6, 7, 8, 9)]
    # the outcome is that of the arm, not of the one beside it
    choose(page, error="", arm="sft_rl", beside="sft", outcome="wrong")
    assert page.evaluate(PROBLEMS) == []
    choose(page, beside="", outcome="", level="zero_shot", sample="sampled")
    assert page.evaluate(PROBLEMS) == [f"zero_shot/{n}" for n in range(10)]
    assert set(page.evaluate(f"{SIDES}.map((side) => side.dataset.arm + side.dataset.sample)")) == {"sft_rlsampled"}


def test_clearing_shows_everything(page, address):
    page.open(address)
    page.evaluate("document.querySelector('#browse button').click()")
    page.wait(f"{PROBLEMS}.length === 20")
    assert page.evaluate(f"{SIDES}.length") == 20 * 4


def test_what_is_shown_can_be_linked(page, address):
    page.open(address)
    choose(page, level="zero_shot", arm="sft_rl", beside="sft", outcome="wrong", problem="zero_shot/9")
    linked = page.evaluate("location.href")
    assert linked.endswith("level=zero_shot&arm=sft_rl&beside=sft&sample=greedy&outcome=wrong&problem=zero_shot%2F9")
    page.open(linked)
    assert page.evaluate(PROBLEMS) == ["zero_shot/9"]
    assert page.evaluate("document.getElementById('browse').elements.outcome.value") == "wrong"
    # a problem's own link, followed on the page
    page.open(address)
    page.evaluate("document.querySelectorAll('article.problem h3 a')[3].click()")
    page.wait(f"{PROBLEMS}.length === 1")
    assert page.evaluate(PROBLEMS) == ["iid/3"]


def test_a_link_to_what_is_not_there_shows_what_there_is(page, address):
    page.open(f"{address}#derivations?arm=nobody&level=%3Cimg%20src=x%20onerror=document.title=1%3E&outcome=right")
    # every arm, every level; greedy and sampled
    assert page.evaluate("document.getElementById('browse').elements.arm.value") == ""
    assert page.evaluate(f"{PROBLEMS}.length") == 20


def test_filters_answer_to_the_keyboard_alone(page, address):
    page.open(address)
    page.evaluate("document.getElementById('browse').elements.level.focus()")
    page.press("ArrowDown", 40)
    page.wait("document.getElementById('browse').elements.level.value === 'zero_shot'")
    assert page.evaluate(PROBLEMS) == [f"zero_shot/{n}" for n in range(10)]
    page.press("Tab", 9)
    assert page.evaluate("document.activeElement.name") == "arm"


def test_hostile_text_is_shown_and_not_obeyed(page, address):
    page.open(address)
    assert page.evaluate("document.title") == "tiny · rlreason report"
    assert page.evaluate("document.images.length") == 0
    shown = page.evaluate(
        "document.querySelector('[data-problem=\"iid/0\"] .derivation:not(.prompt):not(.gold)').textContent"
    )
    assert '</script><img src=x onerror="document.title=1"> a & b' in shown


def test_charts_are_drawn_when_they_come_into_view(page, address):
    page.open(address)
    page.wait("document.querySelector('.plot .main-svg') !== null")
    last = "[...document.querySelectorAll('.plot')].at(-1)"
    page.evaluate(f"{last}.scrollIntoView()")
    page.wait(f"{last}.querySelector('.main-svg') !== null")
