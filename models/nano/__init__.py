"""Small models of our own that ship with the project: weights, architecture and cards. They are made by `python -m tasks.nano.build`."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def nano_names() -> list[str]:
    """The models that ship, by name."""
    return sorted(p.parent.name for p in _FOLDER.glob("*/model.safetensors"))


def nano_path(name: str) -> Path:
    """The folder of the model `name`, as `from_pretrained` reads it."""
    if name not in nano_names():
        raise ValueError(f"no nano model {name!r}: have {nano_names()}")
    return _FOLDER / name
