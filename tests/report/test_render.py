import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from rlreason.records import RunFolder
from rlreason.report import build_report
from rlreason.report.figures import PALETTE, arm_styles
from rlreason.report.render import markdown_inline
from rlreason.report.statistics import Estimate
from rlreason.report.tables import duration, interval, number
from tests.report.synthetic import finished_run, write_plan


@pytest.fixture
def report(plain_page):
    return plain_page.parent


class Page(HTMLParser):
    """Elements and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.raw = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.raw = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.raw = False

    def handle_data(self, text):
        if not self.raw:
            self.text += text


def test_the_json_holds_what_was_promised(report):
    found = json.loads((report / "report.json").read_text())
    level = found["arms"]["sft"]["levels"]["iid"]
    assert (level["n"], level["pass_at_1"], level["derivation_correct"]) == (10, 0.5, pytest.approx(0.3))
    assert level["ci95"] == pytest.approx([0.2366, 0.7634], abs=1e-4)
    assert level["pass_at_k"] == {"1": 0.5, "2": 0.5, "4": 0.5}
    assert found["arms"]["sft_rl"]["stages"] == ["atomic", "rl"]
    assert found["arms"]["sft"]["title"] == "SFT only"
    assert found["arms"]["sft"]["probes"]["contextual"]["pass_at_1"] == 1.0
    assert found["recipe"] == "tiny"
    assert found["versions"] == {"rlreason": "0.1.0", "ray": "2.60.0"}
    assert found["seconds"]["wall"] == 100.0
    assert found["seconds"]["stages"]["rl-0"] == 80.0
    assert [each["measures"]["pass_at_1"]["difference"] for each in found["paired"]["comparisons"]] == [0.5, 0.8]
    assert found["missing"] == []


def test_the_markdown_has_the_headline_table(report):
    text = (report / "report.md").read_text()
    assert "| sft (SFT only) | 50.0% (23.7 to 76.3) | 10.0% (1.8 to 40.4) |" in text
    # bold on zero_shot alone: on iid the intervals overlap
    assert "| sft_rl | 100.0% (72.2 to 100.0) | **90.0%** (59.6 to 98.2) |" in text
    # 8 of 10 problems differ, all one way: p 2 / 2^8, twice by Holm; the interval is that of report.json
    told = json.loads((report / "report.json").read_text())["paired"]["comparisons"][1]["measures"]["pass_at_1"]
    low, high = (f"{100 * bound:+.1f}".replace("-", "\N{MINUS SIGN}") for bound in told["ci95"])
    assert f"| sft_rl vs sft (its base) | **+80.0** ({low} to {high}, p 0.016) |" in text
    assert "| atomic → rl | 20 | 0 → 1 |" in text
    assert re.search(
        r"  - atomic \(sft, 20 updates\) \*\*← sft\*\*\n    - rl \(rl, 20 updates\) \*\*← sft_rl\*\*", text
    )


def test_model_text_stays_text(report):
    page = Page((report / "report.html").read_text())
    assert '</script><img src=x onerror="document.title=1"> a & b' in page.text
    assert "Who is it? <b>0</b>" in page.text
    assert not [tag for tag, attributes in page.tags if tag == "img" or "onerror" in attributes]


def test_the_page_needs_nothing_from_outside_and_is_small(report):
    page = Page((report / "report.html").read_text())
    addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(address.startswith("#") for address in addresses)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert (report / "report.html").stat().st_size < 10_000_000


def test_every_chart_comes_with_its_figure_and_words(report):
    html = (report / "report.html").read_text()
    figures = [json.loads(each) for each in re.findall(r'<script type="application/json">(.*?)</script>', html, re.S)]
    # levels; differences and pass@k on two levels each; reward, share right, loss; phases; and what sections add
    assert len(figures) >= 9
    levels = html.partition('<section id="levels">')[2]
    first = json.loads(re.search(r'<script type="application/json">(.*?)</script>', levels, re.S)[1])
    bars = {trace["name"]: trace for trace in first["data"]}
    assert bars["sft"]["x"] == ["iid", "zero_shot"]
    assert bars["sft"]["y"] == [0.5, 0.1]
    assert bars["sft"]["error_y"]["array"] == pytest.approx([0.2634, 0.3042], abs=1e-4)
    assert len([a for tag, a in Page(html).tags if a.get("class") == "plot" and a["aria-label"]]) == len(figures)


def test_an_unfinished_run_has_a_report_that_says_what_is_missing(tmp_path):
    folder = RunFolder(tmp_path)
    write_plan(folder)
    page = Page(build_report(folder).read_text())
    assert "No evaluation has finished." in page.text
    assert "arm sft, seed 0: its evaluation (evaluate-sft-0) has not finished" in page.text


def test_the_same_records_give_the_same_report(tmp_path):
    folder = finished_run(tmp_path)
    page = build_report(folder)
    first = [path.read_bytes() for path in sorted(page.parent.iterdir())]
    build_report(folder)
    assert [path.read_bytes() for path in sorted(page.parent.iterdir())] == first


def test_a_report_is_built_without_engines(tmp_path):
    finished_run(tmp_path)
    program = (
        "import sys, pathlib; from rlreason.records import RunFolder; from rlreason.report import build_report; "
        f"build_report(RunFolder(pathlib.Path({str(tmp_path)!r}))); "
        "print({'torch', 'ray', 'vllm', 'deepspeed', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_no_two_arms_look_alike_until_the_palette_has_gone_round_three_times():
    styles = arm_styles([f"arm{index}" for index in range(3 * len(PALETTE))])
    assert len(set(styles.values())) == 3 * len(PALETTE)


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.25, "4.2 s"), (185, "3 min 05 s"), (7620, "2 h 07 min"), (None, "not finished")]
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_numbers_and_intervals_read_well():
    assert [number(value) for value in (0.0, 3.0, 0.01234, 1234.5)] == ["0", "3", "0.0123", "1,234"]
    assert interval(Estimate(0.5, 0.2366, 0.7634)) == "23.7 to 76.3"


def test_markdown_text_is_not_markup():
    assert markdown_inline("a_b | <b>*x*\n_y_") == r"a_b \| \<b\>\*x\* \_y\_"
