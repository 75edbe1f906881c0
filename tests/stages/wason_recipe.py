"""A run with a task of several turns that takes seconds in this process."""

RECIPE = """
name: turns
model:
  scratch: {layers: 1, width: 64, heads: 2, max_positions: 160}
tasks:
  wason: {type: wason, max_turns: 4}
stages:
  gold:
    type: sft
    data:
      - {cells: ["order/1", "extremes/1"]}
    updates: 40
    batch_rows: 4
    row_tokens: 128
    optimizer: {learning_rate: 1.0e-2, warmup_updates: 4}
  rl:
    type: rl
    data:
      - {cells: ["order/1"]}
    updates: 3
    prompts_per_update: 4
    group_size: 4
    sampling: {temperature: 1.0, max_new_tokens: 48}
    checkpoint_every: 1
    optimizer: {learning_rate: 2.0e-3}
rewards:
  parts:
    - {spec: "rlreason.rewards.builtin:answer"}
    - {spec: "rlreason.rewards.builtin:derivation", weight: 0.5}
arms:
  sft: [gold]
  sft_rl: {after: sft, stages: [rl]}
evaluation:
  levels: [iid]
  cells: ["order/1"]
  problems: 6
  samples: 2
  k: [1, 2]
  sampling: {max_new_tokens: 48}
"""
HERE = "resources: {generator: torch, learner: torch, threads: 1, accelerator: cpu, micro_batch_tokens: 1024}\n"
ON_THE_STACK = "resources: {accelerator: cpu, micro_batch_tokens: 1024, kv_cache_gib: 0.05}\n"
