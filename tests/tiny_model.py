"""A random tiny Qwen3 with a tokenizer, made in place in well under a second: for tests of everything that takes a model folder."""

from pathlib import Path

from models.nano.architecture import make_model, make_tokenizer, save

TEXTS = ["What is 3 + 4?", "Step 1: Sum 3+4=7", "Answer: \\boxed{7}", "How many apples are left?"]


def tiny_model(folder: Path, *, seed: int = 0, hidden: int = 24, layers: int = 1) -> Path:
    """Write config, safetensors weights, tokenizer and chat template (`{% generation %}`, system, user, assistant) to `folder`."""
    tokenizer = make_tokenizer(TEXTS, [], 320)
    save(make_model(tokenizer, hidden=hidden, layers=layers, heads=2, seed=seed), tokenizer, folder)
    return folder
