"""Low-rank adapters (LoRA, Hu et al. 2022) through peft: put into a model, and read out merged.

To the rest of the house a model with adapters is a model like any other: fewer of its weights train, and what leaves a
learner, for a generator or for disk, has them merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from rlreason.engines.checkpoints import copy_tokenizer, writing
from rlreason.errors import ModelError
from rlreason.recipe.training import Lora

_BASE = ".base_layer"
_ADAPTER = "default"


def add_adapters(model: Any, lora: Lora) -> None:
    """Give the model adapters that change nothing yet, and freeze all else.

    Raises:
        ModelError: the model has no layer of those names.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = list(lora.targets) or "all-linear"
    # peft's "all-linear" looks at the class of a model that it wraps; here the layers are named
    if targets == "all-linear":
        head = model.get_output_embeddings()
        linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
        targets = sorted({name.rpartition(".")[2] for name in linear if model.get_submodule(name) is not head})
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    try:
        inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
    except ValueError as error:
        raise ModelError(f"lora.targets {list(lora.targets)}: {error}") from None
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def merged_tensors(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """(Hugging Face name, tensor) of every weight of the model's state, adapters merged into the layers they adapt."""
    for name, tensor in model.state_dict().items():
        if "lora_" in name:
            continue
        owner, adapted, kind = name.partition(_BASE)
        if adapted and kind == ".weight":
            tensor = tensor + model.get_submodule(owner).get_delta_weight(_ADAPTER).to(tensor.dtype)
        yield owner + kind, tensor.detach()


def save_merged(model: Any, tokenizer_from: Path, output: Path) -> None:
    """Write the model as a Hugging Face directory, adapters merged, with the tokenizer of `tokenizer_from`.

    Raises:
        CheckpointError: the disk refused; the directory is removed.
    """
    tensors = {name: tensor.cpu().clone() for name, tensor in merged_tensors(model)}
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    with writing(output):
        model.save_pretrained(output, state_dict=tensors, safe_serialization=True)
        copy_tokenizer(tokenizer_from, output)
