"""What is read from disk cannot run code: no pickle is loaded from a file, and no checkpoint brings code of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rlreason"
OWN_PIPES = {"rewards/process.py", "rewards/wire.py", "rewards/worker.py", "bench/rewards.py"}
"""They pickle what goes through a pipe between a run and the workers that it started itself."""
REFUSED_CALLS = {"torch.load", "torch.save", "joblib.load", "pd.read_pickle", "pandas.read_pickle"}


def findings(text: str) -> Iterator[str]:
    """What in a module's text could run what it reads."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            if {"pickle", "cloudpickle", "dill", "joblib"} & {name.partition(".")[0] for name in named}:
                yield "pickle"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in REFUSED_CALLS:
            yield ast.unparse(node.func)
        if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
            refused = not (isinstance(node.value, ast.Constant) and node.value.value is False)
            yield from [node.arg] * refused
        if isinstance(node, ast.Constant) and node.value == "trust_remote_code":
            yield "trust_remote_code"


def test_no_module_loads_a_pickle_or_trusts_a_checkpoint_s_code():
    found = {
        str(path.relative_to(PACKAGE)): kinds
        for path in PACKAGE.rglob("*.py")
        if (kinds := set(findings(path.read_text(encoding="utf-8"))))
    }
    assert found == {path: {"pickle"} for path in OWN_PIPES}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", "pickle"),
        ("from joblib import load", "pickle"),
        ("state = torch.load(path, weights_only=True)", "torch.load"),
        ("AutoModel.from_pretrained(path, trust_remote_code=True)", "trust_remote_code"),
        ("AutoModel.from_pretrained(path, trust_remote_code=asked)", "trust_remote_code"),
        ("LLM(**{'trust_remote_code': True})", "trust_remote_code"),
        ("np.load(path, allow_pickle=True)", "allow_pickle"),
    ],
)
def test_each_way_is_seen(text, found):
    assert list(findings(text)) == [found]


def test_what_is_safe_is_let_be():
    assert not list(findings("np.load(path, allow_pickle=False); LLM(trust_remote_code=False); json.load(stream)"))
