"""Greeting a cluster and comparing it with this machine: what is wrong is named before anything starts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlreason.cluster import jobs
from rlreason.errors import MachineError, UserError
from tests.cluster.ready import recipe

OURS = {"python": "3.11.7", "ray": "2.60.0", "rlreason": "0.1.0"}


def told(versions: dict[str, Any] | None = None, gpus: tuple[int, ...] = (8,)) -> dict[str, Any]:
    """What a probe prints of a cluster with that many GPUs on its nodes."""
    return {
        "versions": {**OURS, **(versions or {})},
        "executable": "/usr/bin/python3",
        "resources": {"CPU": 16.0, "GPU": float(sum(gpus))},
        "nodes": [{"CPU": 16.0, "GPU": count} for count in gpus],
    }


def test_a_cluster_of_the_same_versions_with_enough_devices_is_taken():
    jobs.check_cluster(recipe(generators=2, tensor_parallel=2, learners=4), OURS, told())
    # Python's patch version decides nothing
    jobs.check_cluster(recipe(), OURS, told({"python": "3.11.14"}))


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"python": "3.12.1"}, "python 3.12.1 there, 3.11.7 here (Python there: /usr/bin/python3)"),
        ({"ray": "2.60.1"}, "ray 2.60.1 there, 2.60.0 here"),
        ({"rlreason": "0.2.0"}, "rlreason 0.2.0 there, 0.1.0 here"),
        ({"rlreason": None}, "rlreason not at all there, 0.1.0 here"),
        ({"ray": "2.59.0", "rlreason": "0.0.9"}, "ray 2.59.0 there, 2.60.0 here; rlreason 0.0.9 there, 0.1.0 here"),
    ],
)
def test_other_versions_are_named_both(versions: dict[str, str | None], message: str):
    with pytest.raises(MachineError) as refused:
        jobs.check_cluster(recipe(), OURS, told(versions))
    assert message in str(refused.value)


def test_fewer_devices_than_asked_for_are_named():
    asked = recipe(generators=2, tensor_parallel=2, learners=4)
    with pytest.raises(
        MachineError, match="2 generators x 2 GPUs, 4 learners and 0 step scorers, 8 GPUs; the cluster has 7"
    ):
        jobs.check_cluster(asked, OURS, told(gpus=(4, 3)))


def test_a_generator_that_fits_no_node_is_named_though_the_cluster_has_enough_gpus():
    with pytest.raises(MachineError, match="tensor_parallel 4 must fit one node, and the largest of the cluster has 2"):
        jobs.check_cluster(recipe(tensor_parallel=4), OURS, told(gpus=(2, 2, 2)))


def test_engines_in_the_jobs_own_process_ask_ray_for_no_devices():
    torch = {"generator": "torch", "learner": "torch", "accelerator": "cuda"}
    jobs.check_cluster(recipe(**torch), OURS, told(gpus=()))


class Answer(BaseHTTPRequestHandler):
    """Answers every request alike, and keeps its headers."""

    status, body = 200, b""
    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        self.seen.append(dict(self.headers))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def answering(status: int, body: bytes = b"") -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server on loopback: its address, and the headers of what it was asked."""
    seen: list[dict[str, str]] = []
    kind = type("OneAnswer", (Answer,), {"status": status, "body": body, "seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token and no address of whoever runs the tests, and no trace of the tests' in their environment."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b"", "wants a token: set RAY_AUTH_TOKEN or the file ~/.ray/auth_token"),
        (403, b"", "wants another token: set RAY_AUTH_TOKEN"),
        (500, b"", "answers 500 Internal Server Error: not a Ray dashboard"),
        (200, b"<html>", "is not a Ray dashboard; write the address of one"),
        (200, b'{"version": 3}', "is not a Ray dashboard; write the address of one"),
        (200, b"[]", "is not a Ray dashboard; write the address of one"),
    ],
)
def test_what_answers_and_is_no_cluster_of_ours_is_told_apart(status: int, body: bytes, message: str):
    with answering(status, body) as (address, _), pytest.raises(MachineError) as refused:
        jobs.Jobs(address)
    assert message in str(refused.value)
    assert address in str(refused.value)


def test_an_address_where_nothing_listens_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    with pytest.raises(MachineError, match=f"no cluster answers at http://127.0.0.1:{port} within 10 s.*refused"):
        jobs.Jobs(f"http://127.0.0.1:{port}")


def test_an_address_that_accepts_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "ANSWER_S", 0.3)
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(MachineError, match=r"no cluster answers at .* within 0.3 s .*timed out.*ssh -L 8265"):
            jobs.Jobs(address)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://head:10001", "auto", "http://", "http://h:1/api"])
def test_what_is_no_dashboards_address_is_refused(address: str):
    with pytest.raises(UserError, match="write http://HOST:8265"):
        jobs.Jobs(address)


def test_the_token_is_sent_from_where_ray_looks_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def sent() -> str | None:
        with answering(500) as (address, seen), pytest.raises(MachineError):
            jobs.Jobs(address)
        return seen[0].get("Authorization")

    assert sent() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-home\n")
    assert sent() == "Bearer of-home"
    (tmp_path / "named").write_text("of-a-file")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "named"))
    assert sent() == "Bearer of-a-file"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-the-environment")
    assert sent() == "Bearer of-the-environment"


def test_a_named_token_file_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere/token")
    with pytest.raises(MachineError, match=r"RAY_AUTH_TOKEN_PATH '/nowhere/token' cannot be read \(No such file"):
        jobs.Jobs("http://127.0.0.1:9")
