"""Greedy: always the best next choice. Shortest path (Dijkstra), jobs on several machines."""

from __future__ import annotations

from random import Random
from string import ascii_uppercase

from rlreason.tasks.tail.notation import SEQUENCES, Notation, digits
from rlreason.tasks.tail.states import Algorithm, Given, Machine, State

NODES = ascii_uppercase[:20]


def _draw_graph(size: int, rng: Random) -> Given:
    """A random tree with half as many edges again where they fit; from a random node to another."""
    nodes = list(NODES[:size])
    rng.shuffle(nodes)
    pairs = {tuple(sorted((node, rng.choice(nodes[:index])))) for index, node in enumerate(nodes) if index}
    others = [(a, b) for a in sorted(nodes) for b in sorted(nodes) if a < b and (a, b) not in pairs]
    pairs.update(rng.sample(others, min(len(others), size // 2)))
    edges = [[*pair, rng.randint(1, 9)] for pair in rng.sample(sorted(pairs), len(pairs))]
    start, end = rng.sample(nodes, 2)
    return {"edges": edges, "start": start, "end": end}


def _run_dijkstra(given: Given, notation: Notation) -> Machine:
    lengths: dict[str, dict[str, int]] = {}
    for left, right, length in given["edges"]:
        lengths.setdefault(left, {})[right] = length
        lengths.setdefault(right, {})[left] = length
    reached, settled, turn = {given["start"]: 0}, set(), 0
    while True:
        turn += 1
        waiting = {node: distance for node, distance in reached.items() if node not in settled}
        nearest = min(waiting, key=lambda node: (waiting[node], node))
        around = [node for node in sorted(lengths[nearest]) if node not in settled]
        told = yield State(
            f"turn {digits(turn)} choose",
            waiting,
            "nearest",
            {"node": nearest, "distance": waiting[nearest]},
            "stop" if nearest == given["end"] else "next edge" if around else "next turn",
        )
        if told["node"] in waiting:
            nearest = told["node"]
        reached[nearest] = told["distance"]
        if nearest == given["end"]:
            return digits(reached[nearest])
        settled.add(nearest)
        around = [node for node in sorted(lengths[nearest]) if node not in settled]
        for index, node in enumerate(around):
            known, through = reached.get(node), reached[nearest] + lengths[nearest][node]
            told = yield State(
                f"turn {digits(turn)} edge {nearest} {node}",
                {
                    "distance": reached[nearest],
                    "length": lengths[nearest][node],
                    "known": "none" if known is None else known,
                },
                "min ( known , distance + length )",
                {node: through if known is None else min(known, through)},
                "next edge" if index < len(around) - 1 else "next turn",
                outer=False,
            )
            reached[node] = told[node]


def _draw_jobs(size: int, rng: Random) -> Given:
    return {"times": [rng.randint(1, 9) for _ in range(size)], "machines": rng.randint(2, 4)}


def _run_scheduling(given: Given, notation: Notation) -> Machine:
    loads = [0] * given["machines"]
    for job, time in enumerate(given["times"], 1):
        least = loads.index(min(loads)) + 1
        told = yield State(
            f"job {notation.at(job)} choose",
            {"loads": list(loads)},
            "least load",
            {"machine": least},
            "add",
            outer=False,
        )
        machine = told["machine"] if 1 <= told["machine"] <= len(loads) else least
        told = yield State(
            f"job {notation.at(job)} add",
            {"load": loads[machine - 1], "time": time},
            "load + time",
            {"load": loads[machine - 1] + time},
            "next job" if job < len(given["times"]) else "finish",
        )
        loads[machine - 1] = told["load"]
    told = yield State("finish", {"loads": list(loads)}, "largest load", {"time": max(loads)}, "stop")
    return digits(told["time"])


ALGORITHMS = (
    Algorithm(
        name="dijkstra",
        paradigm="greedy",
        sizes={"s": (3, 5), "m": (6, 10), "l": (11, 20)},
        limits=(2, 20),
        draw=_draw_graph,
        run=_run_dijkstra,
        slots=lambda given, notation: {
            "edges": " , ".join([f"{left} {right} {length}" for left, right, length in given["edges"]]),
            "start": given["start"],
            "end": given["end"],
        },
        asks=(
            "Roads with their lengths are {edges} . How long is the shortest way from {start} to {end} ?",
            "In the graph with edges {edges} , what is the distance from {start} to {end} ?",
            "Find the length of the shortest path from {start} to {end} . Edges : {edges} .",
            "These links join two nodes at a cost : {edges} . What does the cheapest way from {start} to {end} cost ?",
            "A map has the roads {edges} . Starting at {start} , how far is it to {end} at least ?",
        ),
        words=f"turn choose edge nearest node distance length known none min ( , ) + next stop {' '.join(NODES)}",
        guesses=lambda size: 9.0 * (size - 1),
    ),
    Algorithm(
        name="scheduling",
        paradigm="greedy",
        sizes={"s": (5, 10), "m": (11, 20), "l": (21, 50)},
        limits=(1, 100),
        draw=_draw_jobs,
        run=_run_scheduling,
        slots=lambda given, notation: {
            "times": notation.row(given["times"], " , "),
            "machines": digits(given["machines"]),
        },
        asks=(
            "Jobs take {times} hours . Each goes , in this order , to the least loaded of {machines} machines . When "
            "is the last one done ?",
            "There are {machines} machines and jobs of {times} hours . Give each job in turn to the machine with the "
            "least work . What is the largest load ?",
            "Schedule jobs of length {times} on {machines} machines , each job on the machine that is free first . How "
            "long does it take ?",
            "In the order {times} , jobs are placed on whichever of {machines} machines has the smallest load . What "
            "is the time at which all are finished ?",
            "With {machines} machines and greedy assignment of jobs that last {times} hours , when does all work end ?",
        ),
        words="job choose loads least load machine add time + next finish largest stop",
        guesses=lambda size: 4.5 * size,
        forms=SEQUENCES,
    ),
)
