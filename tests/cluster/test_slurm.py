"""The Slurm script, run by bash with stand-ins for Slurm's commands, for Ray and for rlreason, that log how they were
called."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.cluster.ready import rendered

SHELLCHECK = Path(sys.executable).parent / "shellcheck"
# srun gives its signal on to what it runs, as the real one does
STANDS_IN = {
    "scontrol": """
        echo "scontrol $*" >> "$LOG"
        [ "$1" = show ] && printf 'n1\\nn2\\n'
        exit 0""",
    "srun": """
        while [ "${1#--}" != "$1" ]; do options="$options $1"; shift; done
        echo "srun$options: $*" >> "$LOG"
        exec "$@" """,
    "hostname": "echo 'fe80::1 10.0.0.7 10.1.0.7'",
    "ray": """
        echo "ray $* token=${#RAY_AUTH_TOKEN} $RAY_AUTH_MODE" >> "$LOG"
        trap 'echo "ray ended" >> "$LOG"; exit 0' TERM
        for _ in $(seq 2000); do sleep 0.05; done""",
}
RLREASON = """
    echo "rlreason $*" >> "$LOG"
    if [ "$1" = cluster ]; then
        until [ "$(grep -c token= "$LOG")" -eq "$SLURM_JOB_NUM_NODES" ]; do sleep 0.02; done
        exit "$JOINED"
    fi
    trap 'echo "rlreason interrupted" >> "$LOG"; exit 130' INT
    echo running >> "$LOG"
    for _ in $(seq "$STEPS"); do sleep 0.05; done
    exit "$CODE" """


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script; beside it the folder of commands."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, body in {**STANDS_IN, "rlreason": RLREASON}.items():
        (commands / name).write_text(f"#!/bin/bash\n{body}\n")
        (commands / name).chmod(0o755)
    file = tmp_path / "job.sh"
    file.write_text(rendered("slurm", 4, time="2-00:00"))
    return file


def start(script: Path, *, nodes: int = 2, joined: int = 0, steps: int = 0, code: int = 0) -> subprocess.Popen[str]:
    environment = {
        "PATH": f"{script.parent / 'bin'}:{os.environ['PATH']}",
        "LOG": str(script.parent / "log"),
        "SLURM_JOB_ID": "20123",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_CPUS_PER_TASK": "8",
        **{"JOINED": str(joined), "STEPS": str(steps), "CODE": str(code)},
    }
    return subprocess.Popen(
        ["bash", str(script)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # whoever started the tests may have told them to ignore it, and a shell cannot trap what was ignored before it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def called(script: Path) -> list[str]:
    log = script.parent / "log"
    return log.read_text().splitlines() if log.exists() else []


def wait_for(script: Path, line: str) -> None:
    end = time.monotonic() + 60
    while line not in called(script):
        assert time.monotonic() < end, called(script)
        time.sleep(0.02)


@pytest.mark.parametrize("target", ["slurm", "skypilot"])
def test_shells_and_shellcheck_find_nothing_in_a_script(target: str, tmp_path: Path):
    text = rendered(target, 4, words=["quickstart"], **({"image": "a"} if target == "skypilot" else {}))
    file = tmp_path / "script.sh"
    file.write_text(text if target == "slurm" else yaml.safe_load(text)["run"])
    for command in (["bash", "-n"], [str(SHELLCHECK)]):
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), command


def test_shellcheck_would_find_something(tmp_path: Path):
    file = tmp_path / "script.sh"
    file.write_text("#!/bin/bash\nrm $1\n")
    done = subprocess.run([str(SHELLCHECK), str(file)], capture_output=True, text=True, check=False)
    assert "SC2086" in done.stdout


def test_the_job_asks_for_what_the_recipe_needs(script: Path):
    asked = [line.removeprefix("#SBATCH ") for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    # 2 generators x 2 GPUs and 4 learners on machines of 4: two nodes; memory by hand in test_needs: the learners'
    # 63 - 6 = 57 GiB with 4 GPUs, and the head's 12
    assert asked == [
        "--job-name=rlreason-my-recipe-v2",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--cpus-per-task=19",
        "--gpus-per-node=4",
        "--mem=69G",
        "--time=2-00:00",
        "--output=rlreason-my-recipe-v2-%j.log",
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
    ]


def test_ray_is_started_on_all_nodes_then_the_recipe_runs_and_ray_is_ended(script: Path):
    job = start(script)
    assert (job.wait(60), called(script)[0]) == (0, "scontrol show hostnames n[1-2]")
    calls = called(script)
    head = "ray start --head --node-ip-address=10.0.0.7 --port=20123 --include-dashboard=false --num-cpus=8 --block"
    worker = "ray start --address=10.0.0.7:20123 --num-cpus=8 --block"
    assert f"srun --nodes=1 --ntasks=1 --nodelist=n1: {head}" in calls
    assert f"srun --nodes=1 --ntasks=1 --exclude=n1: {worker}" in calls
    # 32 bytes as hexadecimal digits
    assert {f"{head} token=64 token", f"{worker} token=64 token"} <= set(calls)
    wait = "rlreason cluster wait --address 10.0.0.7:20123 --nodes 2 --timeout 600"
    run = (
        "rlreason run my recipe.yaml --set a='b; $(c)' --folder /mnt/runs/my_Recipe.v2 "
        "--set resources.address=10.0.0.7:20123 --set resources.accelerator=cuda"
    )
    assert [line for line in calls if line.startswith("rlreason")] == [wait, run]
    assert calls[-2:] == ["ray ended", "ray ended"]


def test_on_one_node_there_is_no_other_to_start(script: Path):
    assert start(script, nodes=1).wait(60) == 0
    assert not [line for line in called(script) if "--exclude" in line]
    assert called(script)[-1] == "ray ended"


@pytest.mark.parametrize("code", [1, 2])
def test_the_runs_exit_code_is_the_jobs(script: Path, code: int):
    assert start(script, code=code).wait(60) == code
    assert called(script)[-2:] == ["ray ended", "ray ended"]
    assert not [line for line in called(script) if "requeue" in line]


def test_nodes_that_do_not_join_end_the_job_and_no_recipe_is_run(script: Path):
    assert start(script, joined=1).wait(60) == 1
    assert "running" not in called(script)
    assert called(script)[-2:] == ["ray ended", "ray ended"]


def test_before_its_end_the_job_interrupts_the_run_and_goes_back_into_the_queue(script: Path):
    job = start(script, steps=1000)
    wait_for(script, "running")
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 130
    after = called(script)[called(script).index("running") + 1 :]
    assert after == ["rlreason interrupted", "scontrol requeue 20123", "ray ended", "ray ended"]
    assert "stopping, to go on after a requeue" in job.communicate()[0]


def test_a_cancelled_job_interrupts_the_run_and_does_not_come_back(script: Path):
    job = start(script, steps=1000)
    wait_for(script, "running")
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 130
    after = called(script)[called(script).index("running") + 1 :]
    assert after == ["rlreason interrupted", "ray ended", "ray ended"]


def test_a_run_that_ends_well_just_before_the_end_is_not_run_again(script: Path):
    job = start(script, steps=1000)
    wait_for(script, "running")
    run = script.parent / "bin" / "rlreason"
    assert run.exists()
    job.send_signal(signal.SIGUSR1)
    job.wait(60)
    # the stand-in gives 130; the same script with a run that ignores the signal and ends well
    run.write_text(run.read_text().replace("exit 130", "exit 0"))
    (script.parent / "log").unlink()
    job = start(script, steps=1000)
    wait_for(script, "running")
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 0
    assert not [line for line in called(script) if "requeue" in line]
