import copy

import torch
from torch import nn

from rlreason.engines.average import WeightAverage, averaged
from rlreason.recipe.training import Optimizer


def scalar(value: float) -> nn.Module:
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, value)
    model.bias.requires_grad_(False)
    return model


def test_the_average_worked_by_hand():
    model = scalar(1.0)
    average = WeightAverage(model, decay=0.75)
    for value in (5.0, 9.0):
        model.weight.data.fill_(value)
        average.update()
    # 1 -> .75 x 1 + .25 x 5 = 2 -> .75 x 2 + .25 x 9 = 3.75; the frozen bias has none
    assert {name: each.item() for name, each in average.state_dict().items()} == {"weight": 3.75}
    with average.applied():
        assert model.weight.item() == 3.75
    assert model.weight.item() == 9.0


def test_a_saved_average_goes_on_where_it_was():
    model = scalar(1.0)
    average = WeightAverage(model, decay=0.5)
    model.weight.data.fill_(3.0)
    average.update()
    saved = copy.deepcopy(average.state_dict())
    average.update()
    restored = WeightAverage(model, decay=0.5)
    restored.load_state_dict(saved)
    restored.update()
    torch.testing.assert_close(restored.state_dict(), average.state_dict())


def test_no_average_is_kept_where_none_is_asked_for():
    assert averaged(scalar(1.0), Optimizer(learning_rate=1.0)) is None
    assert averaged(scalar(1.0), Optimizer(learning_rate=1.0, ema=0.9)) is not None
