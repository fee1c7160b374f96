"""Make a nano model: `python -m tasks.nano.build --role solver --seed 0`.

Resumable: it saves every `--save-every` steps under `--work`, and the same command continues. The roles are declared in the modules
of `tasks/nano/roles/`; this one finds them, saves, measures and writes the cards.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from models.nano.architecture import save
from tasks.nano.role import Role

SHIPPED = Path(__file__).parents[2] / "models" / "nano"

_MODULES = {
    "solver": "solver",
    "step-judge": "step_judge",
    "author": "author",
    "judge-a": "judge",
    "judge-b": "judge",
    "reasoner": "reasoner",
    "tool-user": "tool_user",
    "embedder": "embedder",
}
"""The module of each role."""


def find_role(name: str) -> Role:
    """The role `name`; raises ValueError with the names there are."""
    if name not in _MODULES:
        raise ValueError(f"no role {name!r}: have {sorted(_MODULES)}")
    roles: Sequence[Role] = importlib.import_module(f"tasks.nano.roles.{_MODULES[name]}").ROLES
    return next(role for role in roles if role.name == name)


def build(role: Role, seed: int, work: Path, out: Path, save_every: int) -> None:
    """Train, save, measure, and write `measured.json` and the card."""
    model, tokenizer = role.train(seed, work, save_every)
    save(model, tokenizer, out)
    figures = role.measure(out, seed)
    (out / "measured.json").write_text(json.dumps(figures, indent=2) + "\n")
    (out / "README.md").write_text(role.card(out, seed, figures))


def check(role: Role, folder: Path, seed: int) -> bool:
    """Whether the model in `folder`, measured again, lies within the interval that its card states."""
    stated = json.loads((folder / "measured.json").read_text())
    low, value, high = (stated[role.headline + end] for end in ("_low", "", "_high"))
    again = role.measure(folder, seed)[role.headline]
    print(f"{role.headline}: stated {value:.1%} ({low:.1%} to {high:.1%}), measured {again:.1%}")
    return bool(low <= again <= high)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 when a check fails."""
    parser = argparse.ArgumentParser(prog="python -m tasks.nano.build", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--role", choices=sorted(_MODULES), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the model (default: where it ships)")
    parser.add_argument("--work", type=Path, help="folder of the checkpoints (default: .nano-build/ROLE-SEED)")
    parser.add_argument("--save-every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--check", action="store_true", help="train nothing: measure the model in --out against its card")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    role, out = find_role(options.role), options.out or SHIPPED / options.role
    if options.check:
        return 0 if check(role, out, options.seed) else 1
    work = options.work or Path(".nano-build") / f"{options.role}-{options.seed}"
    build(role, options.seed, work, out, options.save_every)
    return 0


if __name__ == "__main__":
    sys.exit(main())
