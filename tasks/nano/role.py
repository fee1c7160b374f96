"""What a nano role is: a name, how its model is trained, how it is measured, and what its card says. Modules of `roles/` declare them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

Figures = Mapping[str, float]
"""What was measured, by name; kept as `measured.json`."""

Trained = tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]


@dataclass(frozen=True, slots=True)
class Role:
    """One model that ships."""

    name: str
    """Its folder under models/nano, and what `--role` takes."""
    train: Callable[[int, Path, int], Trained]
    """(seed of the world, folder of the checkpoints, steps between them) -> the trained model; goes on from what the folder holds."""
    measure: Callable[[Path, int], Figures]
    """(folder of the model, seed of the world) -> figures on held-out problems, the same at each call."""
    headline: str
    """The figure that `--check` compares; the figures hold `<headline>_low` and `<headline>_high`, its 95 % interval."""
    card: Callable[[Path, int, Figures], str]
    """(folder of the model, seed, figures) -> README.md of the model."""


def model_facts(folder: Path) -> str:
    """`A decoder of N parameters (L layers of H, V tokens, digits one by one)`, for cards."""
    config = json.loads((folder / "config.json").read_text())
    parameters = sum(t.numel() for t in load_file(folder / "model.safetensors").values())
    sizes = f"{config['num_hidden_layers']} layers of {config['hidden_size']}, {config['vocab_size']} tokens, digits one by one"
    return f"A decoder of {parameters:,} parameters ({sizes})"
