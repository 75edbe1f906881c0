"""What every test shares: no network, no time limit on single hypothesis examples (machines here can be noisy), and
imports that no garbage collection looks through."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile("rlreason", deadline=None)
settings.load_profile("rlreason")


@pytest.fixture(scope="module", autouse=True)
def what_is_imported_stays() -> None:
    """Full collections pass over what there is when a module's tests begin: half a million objects of the libraries.

    They cost 0.3 s each otherwise, and statsmodels asks for four in every report.
    """
    gc.collect()
    gc.freeze()
