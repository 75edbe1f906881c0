import json
import subprocess
import sys

import numpy as np
import pytest

from rlreason.bench.learner import MEMORY_TOKENS, VOCABULARY, make_batch


def test_a_batch_has_the_lengths_it_says():
    batch = make_batch(np.random.default_rng(0), sequences=5, prompt=3, longest=4)
    assert batch.prompt_lengths.tolist() == [3] * 5
    assert all(1 <= length <= 4 for length in batch.lengths)
    assert len(batch.tokens) == 15 + batch.lengths.sum() and len(batch.advantages) == batch.lengths.sum()
    assert batch.weights.sum() == pytest.approx(1.0)


@pytest.mark.slow
def test_the_command_measures_what_it_says():
    command = [sys.executable, "-m", "rlreason", "bench", "learner", "--updates", "1", "--size", "0.4M", "--json"]
    done = subprocess.run([*command, "--sequences", "16"], stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout)
    assert set(figures["seconds"]) == {"ours", "bare"} and min(figures["seconds"].values()) > 0
    assert 0 <= figures["padded_share"] < 0.2
    memory = figures["memory"]
    assert memory["logits_mib"] == pytest.approx(MEMORY_TOKENS * VOCABULARY * 4 / 2**20)
    # all logits in float32, and their gradient beside them, against a chunk and its own
    assert memory["whole_mib"] > 1.5 * memory["logits_mib"] and memory["chunked_mib"] < 0.8 * memory["logits_mib"]
