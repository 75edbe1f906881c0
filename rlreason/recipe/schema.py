"""What a recipe may say: frozen pydantic models, unknown keys refused, unions on `type`.

Stage settings are in `recipe.stages`; reading files, `extends:` and overrides in `recipe.loading`; the DAG in
`recipe.plan`. Nothing here knows which tasks, rewards or engines exist: a task's own parameters are checked by the
task, when the recipe is bound to what is installed. The docstring under a field is what `rlreason schema` prints.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from rlreason.recipe.config import Config
from rlreason.recipe.early_stop import StopAt
from rlreason.recipe.scorers import ScorerConfig
from rlreason.recipe.stages import Sampling, StageConfig
from rlreason.recipe.verdict import Verdict

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=NAME)]


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    seen = [value for index, value in enumerate(values) if value in values[:index]]
    if seen:
        raise ValueError(f"{seen[0]!r} is listed twice; list each once")
    return values


class Architecture(Config):
    """Shape of a Llama-type decoder made from scratch."""

    layers: PositiveInt = 3
    width: PositiveInt = 128
    """Hidden size; a multiple of `heads`. width / heads must be a head size vLLM has a kernel for (32, 64, 96, 128)."""
    heads: PositiveInt = 4
    mlp_width: PositiveInt | None = None
    """None: 3 x width, rounded up to a multiple of 32."""
    max_positions: PositiveInt = 1024
    tie_embeddings: bool = True
    start: Literal["random", "look_up"] = "random"
    """Weights before training. look_up: the first two layers start near looking a triple ("Ada boss Bob.") up by person
    and relation, which a tiny model does not learn from random weights in minutes. Takes two layers, two heads and tied
    embeddings, and gives attention biases."""

    @property
    def feed_forward_width(self) -> int:
        """`mlp_width`, or what it is where left out."""
        return self.mlp_width or -(-3 * self.width // 32) * 32

    @model_validator(mode="after")
    def _head_size(self) -> Architecture:
        if self.width % self.heads or self.width // self.heads not in (32, 64, 96, 128):
            raise ValueError(
                f"width {self.width} / heads {self.heads} must be a head size of 32, 64, 96 or 128; "
                f"for width {self.width} try heads {max(1, self.width // 32)}"
            )
        return self

    @model_validator(mode="after")
    def _room_for_look_up(self) -> Architecture:
        if self.start == "look_up" and (self.layers < 2 or self.heads < 2 or not self.tie_embeddings):
            raise ValueError(
                f"start look_up takes 2 layers and 2 heads at least and tied embeddings, but layers is {self.layers}, "
                f"heads is {self.heads} and tie_embeddings is {str(self.tie_embeddings).lower()}; change that, or use "
                "start random"
            )
        return self


class Model(Config):
    """Where the arms start from: a Hugging Face directory, or a new model. Exactly one of the two."""

    path: str | None = None
    """Hugging Face model directory. Relative paths are looked for beside the recipe file, then from the
    current folder, then among what ships."""
    scratch: Architecture | None = None
    """Make a new model with random weights and a word-level tokenizer (byte fallback) over the tasks' words."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: float32 on a CPU, bfloat16 on a GPU."""

    @model_validator(mode="after")
    def _one_source(self) -> Model:
        if (self.path is None) == (self.scratch is None):
            raise ValueError(
                "give exactly one of `path` (a Hugging Face directory) and `scratch` (a new model); "
                "to drop the one that was inherited by `extends`, set it to null"
            )
        return self


class Task(BaseModel):
    """A task by `type`, with that task's own parameters beside it (checked by the task: `rlreason tasks NAME`)."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    type: Name

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything beside `type`."""
        return dict(self.model_extra or {})


class Reward(Config):
    """One part of the rubric."""

    spec: str
    """"path/to/file.py:function" (beside the recipe, or shipped) or "package.module:function"."""
    name: Name | None = None
    """Name of this part in records; None: the function's name."""
    weight: float = 1.0
    kwargs: dict[str, Any] = Field(default_factory=dict)
    deadline_s: PositiveFloat = 10.0
    """Wall-clock seconds one completion may take before its worker is killed and the rollout counts as unscored."""
    fresh: bool = False
    """True: each completion is scored in a fork of its worker, so that nothing it changes there can reach the next.
    Costs milliseconds a completion: little beside a grader that runs code, much beside one that compares text. Not for
    batch and async rewards."""


class Rubric(Config):
    """How several rewards become one."""

    combine: Literal["sum", "product", "first_failure"] = "sum"
    """sum: weighted sum; product: weights are ignored and the parts multiplied (a gate); first_failure: the first
    part that is below 1 decides, in the order listed."""
    parts: Annotated[tuple[Reward, ...], Field(min_length=1)] = (Reward(spec="rlreason.rewards.builtin:answer"),)
    workers: PositiveInt = 1
    """Worker processes that score."""
    memory_gib: PositiveFloat = 2.0
    """Address-space cap of each worker."""


class Probe(Config):
    """A set of cells evaluated beside the levels, such as the atomic skills that a composite needs."""

    cells: Annotated[tuple[str, ...], Field(min_length=1)]
    level: str = "iid"
    problems: PositiveInt = 64


class Interpolation(Config):
    """Controls that are no arms: interpolators fitted on training problems of the cells that are evaluated, and asked
    the same problems as the arms. Where they fail and an arm does not, the arm does more than copy what is near."""

    methods: Annotated[
        tuple[Literal["nearest", "kernel", "mlp"], ...], AfterValidator(_unique), Field(min_length=1)
    ] = ("nearest", "kernel", "mlp")
    """nearest: 5 nearest neighbours; kernel: kernel ridge regression; mlp: a perceptron with one hidden layer."""
    train_problems: PositiveInt = 2000
    """Problems of level train that each is fitted on, the same number of every cell; fewer where there are fewer."""


class Evaluation(Config):
    """What every arm's last checkpoint is asked."""

    task: Name | None = None
    """The recipe's name of the task; may be left out where there is one task."""
    levels: Annotated[tuple[str, ...], AfterValidator(_unique), Field(min_length=1)]
    cells: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    """Cells the levels draw from (shell-style patterns), equally."""
    problems: PositiveInt = 128
    """Problems a level."""
    probes: dict[Name, Probe] = Field(default_factory=dict)
    sampling: Sampling = Sampling()
    samples: PositiveInt = 16
    """Sampled completions a problem (beside the greedy one), from which pass@k is estimated."""
    k: Annotated[tuple[PositiveInt, ...], AfterValidator(_unique)] = (1, 2, 4, 8, 16)
    """No k may exceed `samples`."""
    stop_at: StopAt | None = None
    """Take fewer samples where fewer tell enough. None: always `samples`."""
    interpolation: Interpolation | None = None
    """Interpolators as rows beside the arms; {} for all three. None: none."""

    @model_validator(mode="after")
    def _k_within_samples(self) -> Evaluation:
        too_large = [k for k in self.k if k > self.samples]
        if too_large:
            raise ValueError(
                f"k {too_large[0]} exceeds samples {self.samples}: pass@k needs at least k samples; "
                f"raise `samples` or drop that k"
            )
        return self


class Resources(Config):
    """Which engines run, how many, and where."""

    generator: Literal["vllm", "torch"] = "vllm"
    """vllm: Ray actors; torch: in this process, for tests and machines without vLLM."""
    learner: Literal["deepspeed", "torch"] = "deepspeed"
    """deepspeed: Ray actors, one a rank (SFT through TRL); torch: in this process."""
    generators: PositiveInt = 1
    """Rollout engines (vLLM actors)."""
    tensor_parallel: PositiveInt = 1
    """GPUs a rollout engine. 1 on a CPU."""
    learners: PositiveInt = 1
    """DeepSpeed ranks."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    offload: Literal["none", "optimizer", "all"] = "none"
    """What a learner rank on a GPU keeps in host memory. optimizer: AdamW's states, where its step is made as well
    (zero_stage 1 to 3); all: the weights too (zero_stage 3)."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where Ray sees GPUs, else cpu."""
    placement: Literal["auto", "colocated", "disaggregated"] = "auto"
    """Who has which GPU. disaggregated: every engine its own. colocated: generator i and learner i share one. auto:
    disaggregated where there are GPUs enough, else colocated. On a CPU all engines share the cores."""
    sleep_level: Literal[0, 1, 2] = 0
    """What a generator leaves free of a GPU that it shares, while learners work. 0: nothing; 1: its cache, and its
    weights, which wait in host memory; 2: both, and the next sync brings weights. Needs placement colocated."""
    weight_sync: Literal["auto", "host_memory", "nccl", "ipc", "files"] = "auto"
    """How weights go from learners to generators. host_memory: through Ray's object store; nccl: from GPU to GPU
    (placement disaggregated); ipc: a generator reads the learner's GPU memory (placement colocated); files: safetensors
    in the run's folder, which every node must see. auto: host_memory."""
    address: str | None = None
    """None: a local Ray; "auto" or "ray://host:port" or "host:port": a running cluster."""
    threads: PositiveInt | None = None
    """Threads an engine on a CPU. None: all cores (generators and learners take turns); where `address` is left out,
    several generators share them, and several learners."""
    micro_batch_tokens: PositiveInt | None = None
    """Tokens a rank holds activations for at a time; bounds memory, does not change the result. None: 4,096 on a CPU,
    whose caches a larger pass overflows, 16,384 on a GPU."""
    max_tokens: PositiveInt | None = None
    """Longest prompt and completion together. None: the model's positions, at most 4,096."""
    max_concurrent: PositiveInt = 512
    """Sequences a rollout engine decodes together."""
    kv_cache_gib: PositiveFloat = 0.5
    """Key-value cache of a rollout engine on a CPU; on a GPU see `gpu_memory_share`."""
    gpu_memory_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of a GPU's memory a rollout engine takes. None: 0.9, and 0.45 where it shares the GPU with a learner."""
    wait_for_devices_s: PositiveFloat | None = None
    """Longest wait for devices. None: those that the cluster does not have are refused at once, those that something
    else holds are waited for 60 s. Seconds: for both, as on a cluster that adds nodes when they are asked for."""
    start_timeout_s: PositiveFloat = 300.0
    """Longest wait for placed engines to load before the run stops and says what was missing."""
    wedged_after_s: PositiveFloat = 120.0
    """Seconds after which an engine that is at work and has not moved is killed and started again: no step of decoding,
    no answer to a weight sync, no sign of life of a learner's or a step scorer's process."""
    max_restarts: NonNegativeInt = 3
    """How often an engine may be started again in a run after it died, wedged or raised; 0: the first time ends the
    run (which can be resumed). The ranks of the learner are counted together."""

    @property
    def sync(self) -> str:
        """`weight_sync`, or what auto means."""
        return "host_memory" if self.weight_sync == "auto" else self.weight_sync

    def generator_share(self, *, colocated: bool) -> float:
        """`gpu_memory_share`, or what it is where left out."""
        return self.gpu_memory_share or (0.45 if colocated else 0.9)

    def tokens_a_pass(self, *, on_gpu: bool) -> int:
        """`micro_batch_tokens`, or its default for that kind of device."""
        return self.micro_batch_tokens or (16_384 if on_gpu else 4_096)

    @model_validator(mode="after")
    def _engines_belong_together(self) -> Resources:
        if (self.generator == "torch") != (self.learner == "torch"):
            raise ValueError(
                f"generator {self.generator!r} and learner {self.learner!r} do not go together: "
                "use vllm with deepspeed (Ray actors) or torch with torch (in this process)"
            )
        if self.generator == "torch" and (self.generators, self.learners, self.tensor_parallel) != (1, 1, 1):
            raise ValueError(
                f"generators {self.generators}, learners {self.learners}, tensor_parallel {self.tensor_parallel}: "
                "the torch engines are one each, in this process; leave them at 1, or use vllm with deepspeed"
            )
        of_processes = self.needs_gpus or ("weight_sync files" if self.weight_sync == "files" else None)
        if self.generator == "torch" and of_processes:
            raise ValueError(f"{of_processes} is for vllm with deepspeed, and the generator is 'torch'; leave it out")
        if self.accelerator == "cpu" and self.needs_gpus:
            raise ValueError(f"{self.needs_gpus} needs GPUs, and accelerator is 'cpu'; leave it out")
        return self

    @property
    def needs_gpus(self) -> str | None:
        """The first setting that means something on GPUs alone, with its value; None where there is none."""
        only_on_gpus = {
            "tensor_parallel": self.tensor_parallel > 1,
            "placement": self.placement == "disaggregated",
            "sleep_level": self.sleep_level > 0,
            "offload": self.offload != "none",
            "weight_sync": self.weight_sync in ("nccl", "ipc"),
        }
        return next((f"{name} {getattr(self, name)}" for name, said in only_on_gpus.items() if said), None)

    @model_validator(mode="after")
    def _placement_belongs_together(self) -> Resources:
        placement, sync = self.placement, self.weight_sync
        if self.sleep_level and placement != "colocated":
            raise ValueError(
                f"sleep_level {self.sleep_level} is for GPUs that engines share, and placement is {placement!r}; "
                "use placement colocated, or sleep_level 0"
            )
        if placement == "colocated" and self.tensor_parallel > 1:
            raise ValueError(
                f"tensor_parallel {self.tensor_parallel} does not go with placement 'colocated', where a generator "
                "shares one GPU with one learner; use placement disaggregated, or tensor_parallel 1"
            )
        wanted = {"nccl": "disaggregated", "ipc": "colocated"}.get(sync, placement)
        if placement != wanted:
            raise ValueError(
                f"weight_sync {sync!r} needs placement {wanted}, and placement is {placement!r}; "
                "set both, or use weight_sync host_memory"
            )
        if sync == "ipc" and self.generators > self.learners:
            raise ValueError(
                f"weight_sync 'ipc' needs a learner on the GPU of each of the {self.generators} generators, and "
                f"learners is {self.learners}; raise it, or use weight_sync host_memory"
            )
        if sync == "ipc" and self.zero_stage == 3:
            raise ValueError(
                "weight_sync 'ipc' does not go with zero_stage 3, under which no GPU holds the weights to be read; use "
                "zero_stage 2, or weight_sync host_memory"
            )
        least = {"none": 0, "optimizer": 1, "all": 3}[self.offload]
        if self.zero_stage < least:
            raise ValueError(
                f"offload {self.offload!r} needs zero_stage {least}{' or more' if least < 3 else ''}, and zero_stage "
                f"is {self.zero_stage}; raise it, or leave offload out"
            )
        return self


class Arm(Config):
    """A training history: the stages of another arm, then its own."""

    after: Name | None = None
    """Arm to continue; its stages are shared, not run again."""
    stages: tuple[Name, ...] = ()
    """Names under `stages`, in order."""
    title: str | None = None
    """How reports call it; None: its key."""
    task: Name | None = None
    """The task that this arm is asked in place of `evaluation.task`: another form of the same problems, such as other
    modules of a derivation. Cells and levels are the evaluation's; problems of the same number are compared."""

    @model_validator(mode="before")
    @classmethod
    def _list_is_stages(cls, value: Any) -> Any:
        return {"stages": value} if isinstance(value, list | tuple) else value


class Recipe(Config):
    """One experiment: a model, tasks, arms made of stages, an evaluation, and where it runs."""

    name: Name
    description: str = ""
    """One line, shown by `rlreason recipes`."""
    model: Model
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    stages: Annotated[dict[Name, StageConfig], Field(min_length=1)]
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    rewards: Rubric = Rubric()
    scorers: dict[Name, ScorerConfig] = Field(default_factory=dict)
    """Models that score the steps of derivations, for the `credit` of `rl` stages."""
    evaluation: Evaluation
    verdict: Verdict = Verdict()
    """The rules by which the report says synthesis, amplification or neither."""
    resources: Resources = Resources()
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_unique), Field(min_length=1)] = (0,)
    """Every arm is run once a seed. Seeds change training and sampling, never the tasks' problems."""
    loggers: Annotated[tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...], AfterValidator(_unique)] = ()
    """Tools that are told the metrics of every update, and the report's headline at the end. They change no result."""

    def task_name(self, given: str | None) -> str:
        """The task that a `task:` key means: the one named, or the only one where it was left out.

        Raises:
            ValueError: it was left out and there are several tasks (a loaded recipe was checked for that).
        """
        if given is not None:
            return given
        (only,) = self.tasks
        return only
