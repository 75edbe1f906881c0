"""How fast the shipped loop is on this machine, and beside a peer that does the same work in the same run.

The parent (`rl`) writes a workload, starts each side as a process of its own, and lets them take turns; the sides
(`ours`, `trl_peer`) time and count what they do. What the numbers become is in `figures`, how they look in `table`.
"""
