"""One training of an arm: the same pairs, seen as steps or whole solutions, by preference or by likelihood of the winners."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.train.dpo import Dpo
from models.train.dpo import fit as fit_dpo
from models.train.encode import IGNORED, Encoded, Row, Tokens
from models.train.fitting import Fit, Fitted
from models.train.pairs import EncodedPair, Pair, encode_pairs
from models.train.sft import fit as fit_sft
from storage.schemas import StepPair
from tasks.prompts import fill, load_prompt
from tasks.train_dpo import step_prompt

BATCH, EPOCHS, BETA = 32, 3, 0.4
MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Arm:
    """What a training is: `winners` says whose better steps it sees (`ended`: the base's own, each with an end token, as TRL would)."""

    name: str
    method: Literal["sft", "dpo"]
    what: Literal["step", "whole"]
    nll: float = 0.0
    winners: Literal["own", "reworded", "ended"] = "own"


ARMS = (
    Arm("rejection-sampling SFT", "sft", "whole"),
    Arm("SFT on winning steps", "sft", "step"),
    Arm("DPO", "dpo", "whole"),
    Arm("DPO + NLL", "dpo", "whole", nll=1.0),
    Arm("Step-DPO", "dpo", "step"),
    Arm("Step-DPO + NLL", "dpo", "step", nll=1.0),
    Arm("Step-DPO, reworded winners", "dpo", "step", winners="reworded"),
)

TRAP = Arm("Step-DPO + NLL, end token on every step", "dpo", "step", nll=1.0, winners="ended")
"""What TRL makes of step pairs when it encodes them itself."""


def train_arm(
    arm: Arm, lr: float, seed: int, base: Path, pairs: Sequence[StepPair], held_out: Sequence[StepPair], folder: Path
) -> list[dict[str, float]]:
    """The figures of each step; the model is left in `folder`."""
    work = _empty(folder)
    train, aside = (encode(base, arm.what, rows) for rows in (pairs, held_out))
    if arm.method == "sft":
        fitted = fit_sft([winner(pair) for pair in train], Fit(**settings(lr, seed)), base, work)
    else:
        fitted = fit_dpo(
            train, Dpo(**settings(lr, seed), beta=BETA, loss="sigmoid", nll=arm.nll, eval_steps=10), base, work, held_out=aside
        )
    _keep(fitted, work, folder)
    return fitted.history


def train_replies(replies: Sequence[tuple[str, str]], lr: float, seed: int, base: Path, folder: Path) -> Path:
    """SFT on (statement, whole reply); the model is left in `folder`, which is given back."""
    work, tokens, prompt = _empty(folder), Tokens(base), load_prompt("solve_steps")
    rows = [Row(str(i), step_prompt(fill(prompt, problem=statement), ""), text) for i, (statement, text) in enumerate(replies)]
    _keep(fit_sft([tokens.encode(row) for row in rows], Fit(**settings(lr, seed)), base, work), work, folder)
    return folder


def _empty(folder: Path) -> Path:
    work = folder.with_name(folder.name + ".work")
    shutil.rmtree(work, ignore_errors=True)
    return work


def _keep(fitted: Fitted, work: Path, folder: Path) -> None:
    """The model alone, in place of what was there; checkpoints and logs go."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fitted.folder.rename(folder)
    shutil.rmtree(work)


def settings(lr: float, seed: int) -> dict[str, Any]:
    """What all arms share; the paper's schedule (cosine, a tenth of warm-up)."""
    return {
        "lr": lr, "epochs": EPOCHS, "max_steps": 0, "batch_size": BATCH, "micro_batch": BATCH, "schedule": "cosine", "warmup": 0.1,
        "weight_decay": 0.0, "seed": seed, "save_steps": 10_000, "gradient_checkpointing": False,
    }  # fmt: skip


def encode(base: Path, what: str, rows: Sequence[StepPair]) -> list[EncodedPair]:
    """Token ids of the pairs, as steps or as their whole-solution twins. Raises ValueError where one is longer than 512 tokens."""
    encoded, too_long = encode_pairs(Tokens(base), [_pair(row, what) for row in rows], MAX_LENGTH)
    if too_long:
        raise ValueError(
            f"{len(too_long)} pairs are longer than {MAX_LENGTH} tokens, so the arms would not see the same ones: {too_long[:3]}"
        )
    return encoded


def _pair(row: StepPair, what: str) -> Pair:
    asked = fill(load_prompt("solve_steps"), problem=row.problem)
    if what == "whole":
        return Pair(row.id, step_prompt(asked, ""), row.full_chosen, row.full_rejected)
    return Pair(row.id, step_prompt(asked, row.prefix), row.chosen, row.rejected, row.chosen_ends, row.rejected_ends)


def winner(pair: EncodedPair) -> Encoded:
    """The better side alone, with the loss on it."""
    return Encoded(pair.prompt_ids + pair.chosen_ids, [IGNORED] * len(pair.prompt_ids) + pair.chosen_ids)
