"""`scripts/gpu_session.py`: every part on a CPU, and what it makes of figures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlreason.recipe import load_recipe
from rlreason.recipe.stages import Rl
from rlreason.simulate.rates import load_rates

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A session without a device, as the parts get it."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from gpu.session import Session

    return Session(work=tmp_path, out=tmp_path / "out", ends=time.monotonic() + 600, dry=False)


def test_a_part_that_fails_is_noted_and_keeps_what_was_found(session):
    def breaks(_: object) -> dict[str, object]:
        raise RuntimeError("no such device")

    session.run("first", lambda _: {"speed": {"a": 1.5}})
    session.run("second", breaks)
    found = json.loads((session.out / "session.json").read_text())
    assert found["first"]["speed"] == {"a": 1.5}
    assert found["second"]["failed"] == "RuntimeError: no such device"
    assert "| speed.a | 1.5 |" in (session.out / "session.md").read_text()


def test_figures_become_rates_that_a_plan_reads(session, tmp_path: Path):
    from gpu.measuring import as_rates

    figures = {
        "parameters": 134_515_008,
        "supervised_tokens_per_s": 300_000.0,
        "rl_tokens_per_s": 250_000.0,
        "decoded_tokens_per_s": {"32": 1000.0, "128": 900.0, "512": 9000.0},
        "read_tokens_per_s": 1e6,
        "weight_sync_s": 0.2,
    }
    (tmp_path / "rates.json").write_text(json.dumps(as_rates(session, figures)))
    rates = load_rates(str(tmp_path / "rates.json"))
    assert rates.learning.tokens_per_s == 250_000
    assert rates.model is not None and rates.model.parameters == 134_515_008
    # 128 sequences were slower than 32, which no plan could use
    assert [point.sequences for point in rates.decoding.points] == [32, 512]  # type: ignore[union-attr]


def test_a_fraction_shrinks_people_updates_and_problems(session, tmp_path: Path):
    from gpu.running import RECIPE, at_fraction

    from rlreason.recipe.yaml_text import to_yaml

    base = load_recipe(RECIPE).recipe
    file = tmp_path / "quarter.yaml"
    file.write_text(to_yaml(at_fraction(base, 0.25, session)))
    quarter = load_recipe(file).recipe
    assert quarter.tasks["people"].parameters["people"] == 313  # 1,250 / 4, rounded up
    assert quarter.stages["composite"].updates == 425
    rl, whole = quarter.stages["rl_composite"], base.stages["rl_composite"]
    assert isinstance(rl, Rl) and isinstance(whole, Rl)
    assert (rl.updates, rl.group_size) == (13, whole.group_size)
    assert (quarter.evaluation.problems, quarter.resources.generator) == (32, "torch")
    assert set(quarter.arms) == set(base.arms)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_part_runs_on_a_cpu(tmp_path: Path):
    command = [sys.executable, str(SCRIPTS / "gpu_session.py"), "--dry-run", "--work", str(tmp_path / "work")]
    ended = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads((tmp_path / "out" / "session.json").read_text())
    assert list(found) == ["machine", "ceilings", "engines", "trl", "model", "recipe"]
    assert not [name for name, part in found.items() if "failed" in part]
    assert found["engines"]["supervised_tokens_per_s"] > 0
    assert (found["recipe"]["exit_code"], found["recipe"]["learning"].split()[0]) == (0, "measured")
    assert {"session.md", "rates.json", "report.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(report["arms"]) == 7  # rejection sampling has nothing right to go on from
