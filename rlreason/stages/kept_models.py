"""Models that stay beside the one of the end, to be evaluated later: all of them, or those with the highest reward.

No verdict looks at them: it judges the last model, since the best of several by the reward that they were trained on is
chosen by noise too.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlreason.engines.checkpoints import PARTIAL, finish, partial_of, state_name
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.stages import OnPolicyStage
from rlreason.records.run_folder import read_json, write_json
from rlreason.stages.context import Context

MODELS = "models"
KEPT = "kept.json"


class KeptModels:
    """Keeps a stage's model every `keep_models_every` updates, `keep_best` of them."""

    def __init__(self, context: Context, stage: PlannedStage, config: OnPolicyStage, rewards: Sequence[float]) -> None:
        """
        Args:
            rewards: what `rewards` was when the stage was saved.
        """
        self._learner, self._config = context.engines.learner, config
        self._folder = context.folder.stage(stage.id).resolve() / MODELS
        self.rewards = list(rewards)
        """Mean rewards of the updates since the model that was kept last."""

    def add(self, update: int, reward: float) -> None:
        """An update was made, on rollouts of this mean reward (NaN: none was scored); keep the model if it is time."""
        if self._config.keep_models_every is None:
            return
        self.rewards.append(reward)
        if update % self._config.keep_models_every:
            return
        scored = [each for each in self.rewards if not np.isnan(each)]
        mean = float(np.mean(scored)) if scored else None
        self.rewards = []
        partial = partial_of(self._folder / state_name(update))
        self._learner.save_model(partial)
        write_json(partial / KEPT, {"update": update, "reward_mean": mean})
        finish(partial)
        for folder in self._surplus():
            shutil.rmtree(folder)

    def _surplus(self) -> list[Path]:
        """The models that need not stay; of equal ones the newest does."""
        if self._config.keep_best is None:
            return []
        models = [folder for folder in self._folder.iterdir() if not folder.name.endswith(PARTIAL)]
        return sorted(models, key=_worth, reverse=True)[self._config.keep_best :]


def _worth(folder: Path) -> tuple[float, int]:
    kept = read_json(folder / KEPT)
    return (-np.inf if kept["reward_mean"] is None else kept["reward_mean"], kept["update"])
