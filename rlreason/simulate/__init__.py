"""A simulator of one RL stage on many GPUs: what it would cost, before there are so many.

    rates + recipe -> Costs -> a pipeline's Timeline -> Outcome -> the best split of each size -> tables

Pure: numbers in, numbers out, the same for the same seed. Reading a run's records, and printing, are the command's
(`rlreason.simulate_commands`). What is assumed, and what was checked, is in docs/simulate.md.
"""

from rlreason.simulate.costs import Costs, Layout, Work
from rlreason.simulate.rates import Rates, load_rates
from rlreason.simulate.search import PIPELINES, Outcome, Pipeline, simulate, sweep

__all__ = [
    "PIPELINES",
    "Costs",
    "Layout",
    "Outcome",
    "Pipeline",
    "Rates",
    "Work",
    "load_rates",
    "simulate",
    "sweep",
]
