"""From a recipe to a cluster: what nodes it needs, the files that make them, and jobs on one that runs.

Stands beside the runner, not under it: a run neither knows nor cares who started its machines. Placing actors on a
cluster is `orchestration`'s.
"""

from rlreason.cluster.needs import ClusterNeeds, Group, Node, cluster_needs, uniform_nodes
from rlreason.cluster.render import TARGETS, Cluster, Experiment, render

__all__ = [
    "TARGETS",
    "Cluster",
    "ClusterNeeds",
    "Experiment",
    "Group",
    "Node",
    "cluster_needs",
    "render",
    "uniform_nodes",
]
