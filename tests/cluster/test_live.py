"""A recipe as a job on a real Ray head on loopback, with its token: submitted, followed, stopped, gone on with."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rlreason.cluster.jobs import Jobs
from rlreason.errors import MachineError, UserError
from rlreason.recipe import LoadedRecipe, load_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TOKEN = "0123456789abcdef" * 4
RECIPE = """
name: tiny
model:
  scratch: {layers: 1, width: 64, heads: 2, max_positions: 192}
tasks:
  people:
    {type: complementary, people: 16, parametric_relations: 4, contextual_relations: 4, hops: {1: 1, 2: 1}}
rewards:
  parts: [{spec: "own/variety.py:score"}]
stages:
  atomic:
    type: sft
    data: [{cells: ["parametric/*"]}]
    updates: 2
    batch_rows: 4
    row_tokens: 96
    optimizer: {learning_rate: 2.0e-3}
arms:
  sft: [atomic]
evaluation:
  {levels: [iid], cells: ["complementary/*"], problems: 4, samples: 2, k: [1, 2], sampling: {max_new_tokens: 8}}
resources: {generator: torch, learner: torch, threads: 1, accelerator: cpu, micro_batch_tokens: 512}
"""


@dataclass(frozen=True)
class Head:
    address: str
    gcs: str
    process: psutil.Process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # see orchestration.cluster: stay on loopback
        "RAY_raylet_start_wait_time_s": "300",
    }


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head that ends with its tests; its folder has a short path, as sockets need."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    port, dashboard = free_port(), free_port()
    command = ["ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2"]
    command += ["--num-gpus=0", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={folder}"]
    command += [f"--dashboard-agent-listen-port={free_port()}", f"--ray-client-server-port={free_port()}"]
    started = subprocess.Popen(
        [*command, "--object-store-memory=100000000"], env=environment(), stdout=subprocess.DEVNULL
    )
    try:
        yield Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}", psutil.Process(started.pid))
    finally:
        started.terminate()
        started.wait(120)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


@pytest.fixture
def jobs(head: Head) -> Jobs:
    end = time.monotonic() + 300
    while True:
        try:
            return Jobs(head.address)
        except MachineError:
            assert time.monotonic() < end
            time.sleep(1)


def load(folder: Path, *overrides: str) -> LoadedRecipe:
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "variety.py").write_text(
        "def score(problem, completion, derivation):\n    return len(set(completion)) / max(1, len(completion))\n"
    )
    (folder / "tiny.yaml").write_text(RECIPE)
    return load_recipe(folder / "tiny.yaml", overrides)


def listening(process: psutil.Process) -> set[str]:
    """Addresses that a process and all those it started listen at."""
    found = set()
    for each in [process, *process.children(recursive=True)]:
        try:
            connections = each.net_connections(kind="inet")
        except psutil.Error:  # it has just ended
            continue
        found |= {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}
    return found


def rlreason(*arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlreason", *arguments]
    return subprocess.run(
        command, env={**environment(), "RAY_AUTH_TOKEN": token}, capture_output=True, text=True, check=False
    )


def test_a_recipe_is_submitted_followed_and_gone_on_with(head: Head, jobs: Jobs, tmp_path: Path):
    load(tmp_path)
    submit = ("submit", str(tmp_path / "tiny.yaml"), "--storage", str(tmp_path), "--address", head.address, "--follow")
    done = rlreason(*submit)
    assert done.returncode == 0, done.stderr
    assert "[1/2] atomic of sft" in done.stdout
    assert (tmp_path / "tiny" / "report" / "report.html").is_file()
    again = rlreason(*submit, "--keep-going")
    assert (again.returncode, "2 stages, 2 done before" in again.stdout) == (0, True)

    listed = rlreason("status", "--address", head.address, "--json")
    first, second = json.loads(listed.stdout)
    assert first["name"] in again.stdout and second["name"] in done.stdout
    assert {(job["status"], job["folder"]) for job in (first, second)} == {("SUCCEEDED", str(tmp_path / "tiny"))}
    assert "right" in rlreason("logs", first["name"], "--address", head.address).stdout
    assert listening(head.process) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_a_job_is_stopped_as_by_ctrl_c_and_leaves_no_process(jobs: Jobs, tmp_path: Path):
    job = jobs.submit(load(tmp_path, "name=long", "stages.atomic.updates=1000000"), str(tmp_path))
    end = time.monotonic() + 300
    while "engines ready" not in jobs.logs(job.name):
        assert time.monotonic() < end, jobs.logs(job.name)
        time.sleep(0.5)
    assert jobs.stop(job.name).status == "STOPPED"
    assert f"what was done is kept in {tmp_path / 'long'}" in jobs.logs(job.name)
    left = [each.info["cmdline"] for each in psutil.process_iter(["cmdline"])]
    assert [words for words in left if str(tmp_path / "long") in (words or [])] == []


def test_a_recipe_that_asks_for_more_devices_is_refused_and_leaves_no_job(jobs: Jobs, tmp_path: Path):
    before = [job.name for job in jobs.listed()]
    on_gpus = ("resources.generator=vllm", "resources.learner=deepspeed", "resources.accelerator=cuda")
    with pytest.raises(MachineError, match="2 GPUs; the cluster has 0"):
        jobs.submit(load(tmp_path, *on_gpus), str(tmp_path))
    assert [job.name for job in jobs.listed()] == before


def test_a_job_that_is_not_there_is_named_with_those_that_are(jobs: Jobs):
    with pytest.raises(UserError, match=r"job at http://127.0.0.1:.* 'nothing' is not one of"):
        jobs.find("nothing")


def test_without_the_token_nothing_is_told(head: Head, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    refused = rlreason("status", "--address", head.address, token="f" * 64)
    assert (refused.returncode, "wants another token" in refused.stderr) == (2, True)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MachineError, match="wants a token"):
        Jobs(head.address)


def test_waiting_for_nodes_counts_those_of_the_cluster(head: Head, jobs: Jobs):
    joined = rlreason("cluster", "wait", "--address", head.gcs, "--nodes", "1", "--timeout", "120")
    assert (joined.returncode, joined.stdout) == (0, f"1 nodes have joined {head.gcs}: 127.0.0.1\n")
    missing = rlreason("cluster", "wait", "--address", head.gcs, "--nodes", "2", "--timeout", "10")
    assert (missing.returncode, "1 of 2 nodes had joined" in missing.stderr) == (1, True)


def test_the_ray_of_a_local_run_listens_on_loopback_alone_and_asks_for_a_token():
    code = (
        "import psutil, ray\n"
        "from rlreason.orchestration.cluster import connect\n"
        "from rlreason.recipe.schema import Resources\n"
        "from tests.cluster.test_live import listening\n"
        "connect(Resources())\n"
        "token = ray._raylet.get_authentication_mode() == ray._raylet.AuthenticationMode.TOKEN\n"
        "print(sorted(listening(psutil.Process())), 'token' if token else 'open')\n"
        "ray.shutdown()\n"
    )
    quiet = {name: value for name, value in environment().items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**quiet, "RAY_raylet_start_wait_time_s": "300"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "['127.0.0.1', '::ffff:127.0.0.1'] token\n", done.stderr
