"""One rank of a DeepSpeed group, run as a process of its own by test_offload_and_gather.py.

    python -m tests.engines.offload_rank FOLDER RANK RANKS PORT

FOLDER/work.pkl is (checkpoint, settings, batch, [(ZeRO stage, offload)]); rank 0 writes, for each of the last, the
weights after one update and the parameters of each gathering to FOLDER/found.pkl.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    folder, (rank, ranks, port) = Path(sys.argv[1]), map(int, sys.argv[2:])
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    import torch

    torch.set_num_threads(1)
    from rlreason.engines.deepspeed_learner import DeepSpeedLearner

    checkpoint, settings, batch, kinds = pickle.loads((folder / "work.pkl").read_bytes())
    found = []
    for zero_stage, offload in kinds:
        learner = DeepSpeedLearner(
            rank=rank,
            ranks=ranks,
            master_address="127.0.0.1",
            master_port=port,
            accelerator="cpu",
            dtype="float32",
            zero_stage=zero_stage,
            micro_batch_tokens=24,
            offload=offload,
        )
        learner.begin(checkpoint, settings, None)
        learner.update(batch, 1, on_policy=False)
        import deepspeed

        whole = deepspeed.zero.GatheredParameters
        gathered: list[int] = []

        def counted(parameters: Any, into: list[int] = gathered, gather: Any = whole, **options: Any) -> Any:
            into.append(sum(parameter.ds_numel for parameter in set(parameters)))
            return gather(parameters, **options)

        deepspeed.zero.GatheredParameters = counted
        weights = learner.weights()
        deepspeed.zero.GatheredParameters = whole
        held = sum(parameter.numel() for parameter in learner._engine.module.parameters())
        arrays = None if weights is None else {name: tensor.numpy().copy() for name, tensor in weights}
        late = {name: tensor.numpy().copy() for name, tensor in list(learner.stream())}
        found.append((arrays, gathered, held, late))
        learner.end()
    if rank == 0:
        (folder / "found.pkl").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main()
