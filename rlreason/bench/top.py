"""Which operations take the time of a call."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def top_operations(call: Callable[[], object], count: int = 10) -> str:
    """A line for each of the torch operations with the most time of their own: share, seconds, calls, name.

    The profiler itself costs what many small calls cost; shares of one call are to be compared, not seconds.
    """
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
        call()
    found = sorted(profiled.key_averages(), key=lambda each: -each.self_cpu_time_total)
    whole = sum(each.self_cpu_time_total for each in found)
    shares = [(each.self_cpu_time_total / whole, each.self_cpu_time_total / 1e6, each) for each in found[:count]]
    return "\n".join(f"  {share:6.1%} {own:8.3f} s {each.count:7d} x {each.key}" for share, own, each in shares)
