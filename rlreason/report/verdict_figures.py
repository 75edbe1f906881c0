"""The verdict's charts: the gap in pass@k over k, and the log-probability of right derivations under the base."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlreason.report.figures import PALETTE, Chart, Style, arm_styles, new_figure
from rlreason.report.summary import Summary
from rlreason.report.verdict import Judgement, Verdicts


def verdict_charts(verdicts: Verdicts, summary: Summary) -> list[Chart]:
    """A chart of gaps a level, and one of log-probabilities a pair and level that has them."""
    styles = arm_styles(list(summary.arms))
    measured = [each for each in verdicts.judgements if each.evidence is not None]
    levels = dict.fromkeys(each.level for each in measured)
    return [
        *(_gaps([each for each in measured if each.level == level], verdicts, styles) for level in levels),
        *(_reach(each, styles) for each in measured if each.evidence and each.evidence.reach),
    ]


def _gaps(judged: Sequence[Judgement], verdicts: Verdicts, styles: dict[str, Style]) -> Chart:
    """The gap at each k with its interval, one line an arm; dotted: the gap that matters."""
    figure = new_figure("gap (points)", "k (samples tried)", height=280)
    ks: set[int] = set()
    for each in judged:
        assert each.evidence is not None
        gaps, style = each.evidence.course.gaps, styles[each.pair.arm]
        ks |= gaps.keys()
        estimates = [gap.difference for gap in gaps.values()]
        figure.add_scatter(
            name=f"{each.pair.arm} against {each.pair.base}",
            x=list(gaps),
            y=[100 * estimate.value for estimate in estimates],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [100 * (estimate.high - estimate.value) for estimate in estimates],
                "arrayminus": [100 * (estimate.value - estimate.low) for estimate in estimates],
                "thickness": 1.2,
                "width": 3,
            },
            mode="lines+markers",
            line={"color": style.color, "dash": style.dash, "width": 2},
            marker={"symbol": style.symbol, "size": 7},
            hovertemplate="k = %{x}: %{y:+.1f} points",
        )
    threshold = 100 * verdicts.rules.minimal_gap
    figure.add_hline(y=threshold, line={"color": PALETTE[-1], "dash": "dot", "width": 1})
    figure.update_yaxes(zeroline=True, zerolinecolor=PALETTE[-1])
    figure.update_xaxes(type="log", tickvals=sorted(ks), ticktext=[str(k) for k in sorted(ks)])
    level = judged[0].level
    alt = f"Lines of the gap in pass@k between each judged arm and its base over k on {level}, with intervals."
    return Chart("verdict", f"gap_{level}", f"{level}: gap in pass@k to the base", alt, figure)


def _reach(judgement: Judgement, styles: dict[str, Style]) -> Chart:
    """How many right derivations have which log-probability under the base, and -ln k for some k."""
    assert judgement.evidence is not None and judgement.evidence.reach is not None
    reach, style = judgement.evidence.reach, styles[judgement.pair.arm]
    figure = new_figure("right derivations", "log-probability under the base (nats)", height=280)
    counts, edges = np.histogram(reach.logprobs, bins=min(40, max(5, len(reach.logprobs) // 5)))
    figure.add_bar(
        name=judgement.pair.arm,
        x=((edges[:-1] + edges[1:]) / 2).tolist(),
        y=counts.tolist(),
        width=np.diff(edges).tolist(),
        marker={"color": style.color},
        hovertemplate="%{x:.1f}: %{y}",
    )
    for k in sorted({max(judgement.evidence.arm), reach.k}):
        line = {"color": PALETTE[-1], "dash": "dot", "width": 1}
        figure.add_vline(x=-float(np.log(k)), line=line, annotation={"text": f"k = {k:,}", "font": {"size": 11}})
    level = judgement.level
    alt = f"Bars of the log-probabilities, under its base, of the right derivations of {judgement.pair.arm} on {level}."
    name = f"reach_{judgement.pair.arm}_{level}"
    return Chart("verdict", name, f"{level}: right derivations of {judgement.pair.arm} under its base", alt, figure)
