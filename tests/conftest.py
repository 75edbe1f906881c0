"""What every test shares: no network, and no time limit on single hypothesis examples (machines here can be noisy)."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile("rlreason", deadline=None)
settings.load_profile("rlreason")
