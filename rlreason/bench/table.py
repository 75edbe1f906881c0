"""The figures of `rlreason bench rl` as tables for a terminal; what they mean is in `figures`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

RATES = {
    "completions_per_s": "completions/s",
    "generated_tokens_per_s": "generate, tokens/s",
    "trained_tokens_per_s": "learn, tokens/s",
}
CEILINGS = {
    "wide_gflop_per_s": "wide products, GFLOP/s",
    "decode_gflop_per_s": "decoding products",
    "read_gb_per_s": "reading, GB/s",
}
SINGLE = {
    "trained_tokens": "trained, tokens",
    "computed_tokens": "computed for it, tokens",
    "peak_memory_gib": "peak memory, GiB",
    "start_to_first_update_s": "to first update, s",
}


def render(figures: Mapping[str, Any]) -> RenderableType:
    """What was done, the sides beside each other, and where the seconds went. `figures` is what `bench_rl` returns."""
    sides, work, machine = figures["sides"], figures["workload"], figures["machine"]
    lines = [
        f"{work['parameters'] / 1e6:.1f}M parameters, {work['dtype']}; an update is {work['prompts']} prompts x "
        f"{work['group']} completions of {work['prompt_tokens']} + {work['completion_tokens']} tokens",
        f"{machine['processor']}, {machine['threads']} threads of {machine['cores']} cores",
        *(f"{name}: {side['engine']}" for name, side in sides.items()),
    ]
    tables = [_rates(sides), _phases(sides), _limits(figures)]
    if figures["ratios"]:
        tables.insert(1, _ratios(figures["ratios"]))
    return Group(*(Text(line) for line in lines), *(part for table in tables for part in (Text(), table)))


def _rates(sides: Mapping[str, Any]) -> Table:
    table = _table("median [min-max]", *sides)
    for key, label in {"seconds_an_update": "update, seconds", **RATES}.items():
        table.add_row(label, *(_spread(side[key]) for side in sides.values()))
    for key, label in SINGLE.items():
        table.add_row(label, *(_number(side[key]) for side in sides.values()))
    return table


def _ratios(ratios: Mapping[str, Any]) -> Table:
    table = _table("times as fast, by rounds", *RATES.values())
    for pair, rates in ratios.items():
        table.add_row(pair, *(_spread(rates[key]) for key in RATES))
    return table


def _phases(sides: Mapping[str, Any]) -> Table:
    table = _table("seconds (share)", *sides)
    for phase in next(iter(sides.values()))["phases"]:
        cells = (side["phases"][phase] for side in sides.values())
        table.add_row(phase, *(f"{cell['seconds']:.3g} ({cell['share']:.1%})" for cell in cells))
    return table


def _limits(figures: Mapping[str, Any]) -> Table:
    """The least seconds of either phase, and the share of each side's seconds that they are."""
    ceilings, sides = figures["ceilings"], figures["sides"]
    table = _table("the machine's floor", "seconds", *(f"{name}, share" for name in sides))
    for phase, floor in figures["floor"].items():
        shares = (_spread(side["floor_share"][phase]) for side in sides.values())
        table.add_row(phase, _spread(floor["seconds"]), *shares)
    speeds = (f"{label} {_spread(ceilings[key])}" for key, label in CEILINGS.items())
    table.caption = "; ".join(speeds)
    return table


def _spread(values: Mapping[str, float]) -> str:
    return f"{_number(values['median'])} [{_number(values['min'])}-{_number(values['max'])}]"


def _number(value: float) -> str:
    """Three digits, or all of the whole ones: short enough for three columns on a terminal of 80."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _table(first: str, *names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    table.add_column(first)
    for name in names:
        table.add_column(name, justify="right")
    return table
