"""Jobs on a Ray cluster, through the port of its dashboard: submit a recipe, ask, read, stop.

A recipe's job is `rlreason run` on the cluster's head, with the recipe and its plug-ins as the working directory.
Before it, a probe tells what the cluster is, so that another version or a missing device is named here and nothing
starts.
rlreason itself does not travel: the cluster has it, in the same version.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import shlex
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ray.job_submission import JobDetails, JobSubmissionClient

import rlreason
from rlreason.cluster import probe
from rlreason.cluster.travel import RECIPE, pack
from rlreason.errors import MachineError, RunFailed, UserError, one_of
from rlreason.orchestration.cluster import share_out
from rlreason.recipe import LoadedRecipe
from rlreason.recipe.schema import Recipe

ANSWER_S = 10.0
"""How long a cluster may take to say that it is one."""
PROBE_S = 180.0
"""How long the probe may take: a busy head starts Python slowly."""
STOP_S = 120
"""How long a run that was asked to stop may take to keep what it has, before it is killed."""
LOOK_S = 0.5
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_JOB_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",  # logs as they are written
    "RAY_JOB_STOP_SIGNAL": "SIGINT",  # as Ctrl-C: the run keeps what it has
    "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S),
}


def here() -> dict[str, str | None]:
    """Versions of this machine, of what a cluster must have alike."""
    return {"python": platform.python_version(), "ray": version("ray"), "rlreason": rlreason.__version__}


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands now; times in seconds since 1970, None where it has not come to that."""

    name: str
    status: str
    recipe: str
    folder: str
    started: float | None
    ended: float | None
    message: str


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str) -> None:
        """Greet the cluster.

        Args:
            address: of its dashboard, such as http://127.0.0.1:8265.
        Raises:
            UserError: not such an address.
            MachineError: nothing answers there within 10 s, or it wants another token.
        """
        self.address = _checked_address(address)
        headers = _headers()
        _greet(self.address, headers)
        os.environ["RAY_API_SERVER_ADDRESS"] = self.address  # or RAY_ADDRESS would silently win over what was asked
        self._client = JobSubmissionClient(self.address, headers=headers)
        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)  # its client tells of every upload

    def submit(self, loaded: LoadedRecipe, storage: str, *, keep_going: bool = False) -> Job:
        """Send a recipe and start it; returns at once.

        Args:
            storage: folder that every node sees at that path; the run goes to storage/RECIPE_NAME.
            keep_going: see `stages.runner.run_recipe`.
        Raises:
            RecipeError: it names files that cannot travel.
            MachineError: the cluster has other versions, or fewer devices than the recipe asks for.
        """
        recipe = loaded.recipe
        with tempfile.TemporaryDirectory() as packed:
            pack(loaded, storage, Path(packed))
            check_cluster(recipe, here(), self._probe())
            folder = f"{storage.rstrip('/')}/{recipe.name}"
            name = f"{recipe.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            command = ["python", "-m", "rlreason", "run", RECIPE, "--folder", folder, "--set", "resources.address=auto"]
            self._client.submit_job(
                entrypoint=shlex.join([*command, *(["--keep-going"] if keep_going else [])]),
                submission_id=name,
                runtime_env={"working_dir": packed, "env_vars": _JOB_ENVIRONMENT},
                metadata={"recipe": recipe.name, "folder": folder},
            )
        return self.find(name)

    def _probe(self) -> dict[str, Any]:
        """What the cluster says of itself."""
        with tempfile.TemporaryDirectory() as packed:
            shutil.copyfile(probe.__file__, Path(packed) / "probe.py")
            name = self._client.submit_job(entrypoint="python probe.py", runtime_env={"working_dir": packed})
            try:
                job = self.wait(name, PROBE_S)
                printed = self._client.get_job_logs(name)
            finally:
                self._forget(name)
        for line in printed.splitlines():
            if line.startswith(probe.FIRST):
                told: dict[str, Any] = json.loads(line.removeprefix(probe.FIRST))
                return told
        raise MachineError(
            f"the cluster at {self.address} did not say what it is ({job.status}: {job.message}); it printed:\n"
            + "\n".join(printed.splitlines()[-8:])
        )

    def _forget(self, name: str) -> None:
        """Take a job that has ended out of the list; one that has not is stopped."""
        if self._client.get_job_status(name) in ENDED:
            self._client.delete_job(name)
        else:
            self._client.stop_job(name)

    def listed(self) -> list[Job]:
        """All jobs that rlreason submitted, newest first."""
        found = [_job(each) for each in self._client.list_jobs() if "recipe" in (each.metadata or {})]
        return sorted(found, key=lambda job: job.started or 0.0, reverse=True)

    def find(self, name: str) -> Job:
        """The job of that name.

        Raises:
            UserError: there is none.
        """
        try:
            return _job(self._client.get_job_info(name))
        except RuntimeError as error:
            if "404" not in str(error):
                raise
            raise UserError(one_of(f"job at {self.address}", name, [job.name for job in self.listed()])) from None

    def logs(self, name: str) -> str:
        """What the job has printed so far."""
        self.find(name)
        return self._client.get_job_logs(name)

    async def follow(self, name: str) -> AsyncIterator[str]:
        """What the job has printed and prints, until it ends."""
        self.find(name)
        async for lines in self._client.tail_job_logs(name):
            yield lines

    def stop(self, name: str) -> Job:
        """Stop a job as Ctrl-C would, wait until it has ended.

        Raises:
            UserError: there is no such job.
            RunFailed: it did not end.
        """
        if self.find(name).status not in ENDED:
            self._client.stop_job(name)
        return self.wait(name, STOP_S + 30.0)

    def wait(self, name: str, timeout_s: float) -> Job:
        """The job once it has ended.

        Raises:
            RunFailed: it had not in that time.
        """
        end = time.monotonic() + timeout_s
        while (job := self.find(name)).status not in ENDED:
            if time.monotonic() > end:
                raise RunFailed(
                    f"job {name} at {self.address} had not ended after {timeout_s:g} s ({job.status}: {job.message}); "
                    "see its logs, and whether the cluster's head is overloaded"
                )
            time.sleep(LOOK_S)
        return job


def check_cluster(recipe: Recipe, ours: Mapping[str, str | None], told: Mapping[str, Any]) -> None:
    """The cluster can run the recipe as this machine would.

    Args:
        ours: `here()`.
        told: what `probe` prints.
    Raises:
        MachineError: another Python, Ray or rlreason there (names both), or fewer devices than asked for.
    """
    theirs = told["versions"]
    other = [
        f"{name} {theirs[name] or 'not at all'} there, {ours[name]} here"
        for name in ours
        if _decisive(name, theirs[name]) != _decisive(name, ours[name])
    ]
    if other:
        raise MachineError(
            f"the cluster has other versions: {'; '.join(other)} (Python there: {told['executable']}). Make them "
            "alike: the same container image or `make setup` of the same checkout on all nodes, its .venv/bin first on "
            "the PATH where Ray is started"
        )
    if recipe.resources.generator == "torch":  # in the job's own process, which asks Ray for nothing
        return
    share_out(recipe.resources, told["nodes"], scorers=int(bool(recipe.scorers)))


def _decisive(name: str, found: str | None) -> str | None:
    """Of a version, what must be alike: of Python's, major and minor."""
    return ".".join(found.split(".")[:2]) if name == "python" and found else found


def _job(details: JobDetails) -> Job:
    noted = details.metadata or {}
    started, ended = ((time and time / 1000.0) for time in (details.start_time, details.end_time))
    return Job(
        name=str(details.submission_id),
        status=str(details.status.value),
        recipe=noted.get("recipe", ""),
        folder=noted.get("folder", ""),
        started=started,
        ended=ended,
        message=details.message or "",
    )


def _checked_address(address: str) -> str:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise UserError(
            f"--address {address!r} is not that of a dashboard; write http://HOST:8265 (jobs go through the "
            "dashboard's port, not through Ray's own)"
        )
    return address.rstrip("/")


def _headers() -> dict[str, str]:
    """The cluster's token, from where Ray looks for it; nothing where there is none.

    Raises:
        MachineError: RAY_AUTH_TOKEN_PATH names a file that cannot be read.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        token = os.environ.get("RAY_AUTH_TOKEN") or file.read_text(encoding="utf-8").strip()
    except OSError as error:
        if named:
            raise MachineError(
                f"RAY_AUTH_TOKEN_PATH {named!r} cannot be read ({error.strerror}); name the file of the cluster's "
                "token, or unset it"
            ) from None
        return {}
    return {"Authorization": f"Bearer {token}"}


def _greet(address: str, headers: Mapping[str, str]) -> None:
    """Ask for the version, as Ray's client does, but with an end to the wait."""
    request = urllib.request.Request(f"{address}/api/version", headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            json.load(answer)["ray_version"]
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            raise MachineError(f"{address} answers {error.code} {error.reason}: not a Ray dashboard") from None
        wants = "wants a token" if error.code == 401 else "wants another token"
        raise MachineError(
            f"the cluster at {address} {wants}: set RAY_AUTH_TOKEN or the file ~/.ray/auth_token to "
            "the cluster's (`ray get-auth-token` on its head)"
        ) from None
    except (KeyError, TypeError, ValueError):
        raise MachineError(f"what answers at {address} is not a Ray dashboard; write the address of one") from None
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        raise MachineError(
            f"no cluster answers at {address} within {ANSWER_S:g} s ({reason}); is its dashboard on (`ray start --head "
            "--dashboard-host=127.0.0.1`), and its port brought here (`ssh -L 8265:127.0.0.1:8265 HEAD`, `kubectl "
            "port-forward`)?"
        ) from None
