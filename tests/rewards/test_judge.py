"""The judge against a small server on this machine that speaks the endpoint's protocol."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_grader import NO_CHECK, grader, problem
from toy_task import toy_problem

from rlreason.recipe.schema import Reward
from rlreason.rewards.contract import to_score
from rlreason.rewards.failures import Unscored, kind_of

SPEC = "judge.py:Judge"
RIGHT, WRONG = "They agree.\nVERDICT: RIGHT", "They differ.\nVERDICT: WRONG"


@contextmanager
def served(*replies: str | int, seconds: float = 0.0) -> Iterator[SimpleNamespace]:
    """An endpoint that gives the replies in order, the last one again and again; a number is a failing status.

    Yields its `url`, the `requests` it got, each with `path`, `body` and `headers`, and how many were `under_way` when
    each came. An answer takes `seconds`.
    """
    requests: list[SimpleNamespace] = []
    under_way: list[int] = []
    answered = 0
    lock = threading.Lock()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            nonlocal answered
            with lock:
                under_way.append(len(requests) + 1 - answered)
                reply = replies[min(len(requests), len(replies) - 1)]
                requests.append(SimpleNamespace(body=body, headers=self.headers, path=self.path))
            time.sleep(seconds)
            with lock:
                answered += 1
            status, content = (reply, {"error": {"message": "busy"}}) if isinstance(reply, int) else (200, _said(reply))
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.send_header("Retry-After-Ms", "1")
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/v1", requests=requests, under_way=under_way)
    finally:
        server.shutdown()
        server.server_close()


def _said(text: str) -> dict:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "judge",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 10, "total_tokens": 210},
    }


def judged(url, completions, **kwargs):
    """The Scores of one Judge, asked for all completions at once as the pool does; a failure is its text."""
    judge = grader(SPEC, {"model": "judge", "base_url": url, "cache": None, **kwargs}).call

    async def ask():
        return await asyncio.gather(*(judge(problem("42"), text, NO_CHECK) for text in completions))

    scores = []
    for text, returned in zip(completions, asyncio.run(ask()), strict=True):
        try:
            scores.append(to_score(SPEC, returned, text, NO_CHECK))
        except Unscored as failure:
            scores.append(str(failure))
    return scores


def test_a_verdict_is_paid_with_its_tokens_and_cost(tmp_path):
    with served(RIGHT) as endpoint:
        (score,) = judged(
            endpoint.url, ["it is 42"], usd_per_million_prompt_tokens=2.0, usd_per_million_completion_tokens=30.0
        )
    assert (score.reward, score.correct) == (1.0, True)
    # 200 x $2 / 1M + 10 x $30 / 1M = $0.0004 + $0.0003
    assert score.parts == pytest.approx(
        {"cached": 0.0, "prompt_tokens": 200.0, "completion_tokens": 10.0, "cost_usd": 0.0007}
    )


def test_the_judge_is_shown_question_reference_and_completion_and_no_key():
    with served(WRONG) as endpoint:
        (score,) = judged(endpoint.url, ["it is 41"], request={"max_tokens": None, "seed": 3})
    assert (score.reward, score.correct) == (0.0, False)
    (request,) = endpoint.requests
    assert request.path == "/v1/chat/completions"
    assert {key: request.body[key] for key in request.body if key != "messages"} == {
        "model": "judge",
        "temperature": 0.0,
        "seed": 3,
    }
    asked = request.body["messages"][1]["content"]
    assert "What?" in asked and "42" in asked and "it is 41" in asked
    assert request.headers["Authorization"] == "Bearer none"


def test_the_key_comes_from_the_environment(monkeypatch):
    with pytest.raises(ValueError, match="api_key_env names 'JUDGE_KEY', which is not set"):
        judged("http://127.0.0.1:1/v1", [""], api_key_env="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", "k1")
    with served(RIGHT) as endpoint:
        judged(endpoint.url, [""], api_key_env="JUDGE_KEY")
    assert endpoint.requests[0].headers["Authorization"] == "Bearer k1"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_endpoint_is_asked_again(status):
    with served(status, status, RIGHT) as endpoint:
        (score,) = judged(endpoint.url, ["it is 42"])
    assert score.reward == 1.0
    assert len(endpoint.requests) == 3


def test_an_endpoint_that_stays_busy_leaves_the_completion_unscored():
    with served(429) as endpoint:
        (failure,) = judged(endpoint.url, ["it is 42"], retries=2)
    assert failure.startswith("Unscorable:") and f"judge at {endpoint.url} gave no answer: RateLimitError" in failure
    assert len(endpoint.requests) == 3


def test_an_endpoint_that_is_not_there_leaves_the_completion_unscored():
    (failure,) = judged("http://127.0.0.1:9/v1", ["it is 42"], retries=0)
    assert failure.startswith("Unscorable:") and "APIConnectionError" in failure


def test_a_request_that_is_refused_is_not_tried_again():
    with served(404) as endpoint:
        (failure,) = judged(endpoint.url, ["it is 42"])
    assert "NotFoundError" in failure and len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "reply", ["I cannot say.", "", "VERDICT: MAYBE", "VERDICT: 7", "VERDICT: RIGHTLY", "verdict: right"]
)
def test_a_verdict_that_cannot_be_read_is_a_failure_and_not_a_zero(reply, tmp_path):
    with served(reply) as endpoint:
        (failure,) = judged(endpoint.url, ["it is 42"], cache=str(tmp_path / "answers"))
        assert failure.startswith("Unscorable:") and "no readable verdict" in failure
        judged(endpoint.url, ["it is 42"], cache=str(tmp_path / "answers"))
    assert len(endpoint.requests) == 2  # and it is not kept


@pytest.mark.parametrize(
    ("reply", "reward", "correct"),
    [
        ("**VERDICT: RIGHT**", 1.0, True),
        ("VERDICT: RIGHT, no:\nVERDICT: WRONG", 0.0, False),
        ("VERDICT: 0.25.", 0.25, None),
        ("VERDICT: 1", 1.0, True),
    ],
)
def test_the_last_verdict_counts_and_may_be_a_share(reply, reward, correct):
    with served(reply) as endpoint:
        (score,) = judged(endpoint.url, ["it is 42"])
    assert (score.reward, score.correct) == (reward, correct)


def test_what_was_asked_once_is_not_asked_again(tmp_path):
    cache = str(tmp_path / "new" / "answers.sqlite")
    with served(RIGHT, WRONG) as endpoint:
        (first,) = judged(endpoint.url, ["it is 42"], cache=cache)
        (again,) = judged(endpoint.url, ["it is 42"], cache=cache, retries=1)
        assert len(endpoint.requests) == 1
        assert (again.reward, again.parts["cached"], again.parts["cost_usd"]) == (first.reward, 1.0, 0.0)
        (other_text,) = judged(endpoint.url, ["it is 43"], cache=cache)
        assert other_text.reward == 0.0
        for changed in ({"request": {"temperature": 1.0}}, {"instructions": "Be kind."}, {"model": "other"}):
            judged(endpoint.url, ["it is 42"], cache=cache, **changed)
        assert len(endpoint.requests) == 5  # everything that decides the answer is in the key


def test_two_processes_share_the_cache(tmp_path):
    script = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from one_grader import NO_CHECK, grader, problem
judge = grader({SPEC!r}, dict(model="judge", base_url=sys.argv[1], cache=sys.argv[2])).call
async def ask():
    return await asyncio.gather(*(judge(problem("42"), f"it is {{n}}", NO_CHECK) for n in range(20)))
scores = asyncio.run(ask())
print(sum(score["reward"] for score in scores), sum(score["parts"]["cached"] for score in scores))
"""
    with served(RIGHT) as endpoint:
        cache = str(tmp_path / "answers")
        command = [sys.executable, "-c", script, endpoint.url, cache]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        told = [process.communicate()[0].split() for process in both]
        assert [rewards for rewards, _ in told] == ["20.0", "20.0"]
        asked = len(endpoint.requests)
        assert asked + sum(float(cached) for _, cached in told) == 40
        here = judged(endpoint.url, [f"it is {n}" for n in range(20)], cache=cache)
        assert [score.parts["cached"] for score in here] == [1.0] * 20
        assert len(endpoint.requests) == asked


def test_only_so_many_requests_are_under_way_at_once():
    with served(RIGHT, seconds=0.03) as endpoint:
        scores = judged(endpoint.url, [str(n) for n in range(12)], concurrency=3)
    assert [score.reward for score in scores] == [1.0] * 12
    assert max(endpoint.under_way) == 3


def test_it_scores_in_the_pool(make_pool, tmp_path):
    with served(RIGHT) as endpoint:
        kwargs = {"model": "judge", "base_url": endpoint.url, "cache": str(tmp_path / "answers")}
        pool = make_pool(Reward(spec="rewards/judge.py:Judge", kwargs=kwargs, deadline_s=20))
        scores = pool.score([(toy_problem(1), f"it is {n}") for n in range(5)])
    assert [(score.reward, str(kind_of(score.failure))) for score in scores] == [(1.0, "None")] * 5
    assert scores[0].parts["Judge/completion_tokens"] == 10.0


@given(text=st.text(alphabet=st.characters(), max_size=50) | st.sampled_from(["\ud800", "\x00" * 9, "VERDICT: RIGHT"]))
def test_any_text_can_be_asked_about_and_cannot_end_its_own_marks(text):
    judge = grader(SPEC, {"model": "m", "cache": None}).call
    asked = sys.modules[type(judge).__module__].messages("", problem("42"), text)[1]["content"]
    asked.encode()
    mark = asked.rpartition("\n")[2]
    assert asked.split(f"\n{mark}\n")[1] == text.encode("utf-8", "replace").decode() + f"\n{mark}"
