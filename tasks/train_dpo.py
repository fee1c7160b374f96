"""Train on preference pairs: Step-DPO on single steps, or DPO on the whole solutions they belong to (Step-DPO, sections 3.1 and 4.1).

Runs like `train_sft`: a process of its own, resumable, no dataset without a contamination certificate. An inner step is trained
without an end token; a step that ends its solution, and a whole solution, with one.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from models.engine import Message, Prompt
from storage.ids import digest
from storage.schemas import Checkpoint
from tasks.prompts import PromptText, fill
from tasks.stage import Dataset, ModelFolder, Runtime, Workdir, stage
from tasks.training import Result, TrainConfig, progress_into, rows_of, serve, train


class TrainDpoConfig(TrainConfig):
    """What is preferred, and how it is trained. The defaults are those of Step-DPO's 7B models."""

    what: Literal["step", "whole"] = "step"
    """step: the better against the wrong step after the same earlier steps (Step-DPO). whole: the matched whole solutions (DPO)."""
    beta: float = Field(0.4, gt=0)
    """How strongly the reference holds; with ipo its tau."""
    loss: Literal["sigmoid", "sigmoid_norm", "hinge", "ipo", "apo_zero"] = "sigmoid"
    """sigmoid: DPO, the published one. sigmoid_norm: per token. hinge: SLiC. ipo: squared, per token. apo_zero: each side by itself."""
    nll: float = Field(0.0, ge=0)
    """Weight of the mean negative log-likelihood of the chosen tokens, added to the loss (the SFT mix); 0 is the published loss."""
    held_out: float = Field(0.0, ge=0, lt=1)
    """Share of the problems whose pairs are not trained on: reward accuracy and margin on them are reported in progress.jsonl."""
    eval_steps: Annotated[int, Runtime()] = Field(10, ge=1)
    """Steps between those reports."""
    lr: float = Field(5e-7, gt=0)
    """Peak learning rate (AdamW)."""
    epochs: float = Field(8.0, gt=0)
    """Passes over the pairs."""
    max_length: int = Field(1024, ge=1)
    """Longest side in tokens, prompt and earlier steps included; longer pairs are left out and counted, never cut."""
    warmup: float = Field(0.1, ge=0)
    """Steps of linear warm-up; a share of all steps where below 1."""
    micro_batch: int = Field(8, ge=1)
    """Pairs on the device at once; divides `batch_size`. With `nll` it decides a little of the result (that mean is over the tokens of
    one micro-batch), so it counts as part of the recipe here."""


@stage(scope="dataset", revision=1)
def train_dpo(pairs: Dataset, base: ModelFolder, work: Workdir, config: TrainDpoConfig) -> Checkpoint:
    """The trained model, adopted into the store. Raises ValueError for a set without its certificate, TrainingError when training fails."""
    settings = config.settings() | {name: getattr(config, name) for name in ("beta", "loss", "nll", "eval_steps")}
    method = {"step": "step_dpo", "whole": "dpo"}[config.what]
    return train("tasks.train_dpo", method, pairs, base, work, config, settings, what=config.what, held_out=config.held_out)


def step_prompt(asked: Prompt, prefix: str) -> Prompt:
    """`asked`, with `prefix` as the beginning of the reply in place of the one that the prompt itself may give; "" for a whole reply.

    Raises ValueError where the two beginnings differ.
    """
    if asked.messages is None:
        return Prompt(text=(asked.text or "") + prefix)
    turns = asked.messages
    if turns[-1].role == "assistant":
        if prefix and not prefix.startswith(turns[-1].content):
            raise ValueError(f"the prompt begins the reply with {turns[-1].content!r}, the reply begins with {prefix[:60]!r}")
        turns = turns[:-1]
    return Prompt(messages=(*turns, Message("assistant", prefix)) if prefix else turns)


def is_held_out(problem_id: str, share: float) -> bool:
    """Whether a problem's pairs are kept from training, by a hash of its id alone."""
    return int(digest(["held out", problem_id], 8), 16) < share * 16**8


def _fit(spec: dict[str, Any], folder: Path) -> Result:
    """In the process."""
    from models.train.dpo import Dpo, fit
    from models.train.encode import Tokens
    from models.train.fitting import last_checkpoint
    from models.train.pairs import encode_pairs
    from models.train.smoke import smoke_pairs

    base, settings, tokens = Path(spec["base"]), Dpo(**spec["settings"]), Tokens(Path(spec["base"]))
    rows = rows_of(spec, ["id", "problem_id", "problem", *_COLUMNS[spec["what"]]])
    aside = [is_held_out(row["problem_id"], spec["held_out"]) for row in rows]
    mine = [_pair(row, spec) for row in rows]
    pairs, too_long = encode_pairs(tokens, (p for p, out in zip(mine, aside, strict=True) if not out), spec["max_length"])
    held_out = encode_pairs(tokens, (p for p, out in zip(mine, aside, strict=True) if out), spec["max_length"])[0] if any(aside) else []
    if last_checkpoint(folder / "checkpoints") is None:
        smoke_pairs(base, pairs, settings.lr, settings.beta)
    fitted = fit(pairs, settings, base, folder, progress_into(folder / "progress.jsonl"), held_out)
    return {
        "folder": str(fitted.folder),
        "losses": fitted.losses,
        "history": fitted.history,
        "resumed_from": fitted.resumed_from,
        "n_rows": len(pairs),
        "n_held_out": len(held_out),
        "too_long": too_long,
    }


_COLUMNS = {
    "step": ["prefix", "chosen", "rejected", "chosen_ends", "rejected_ends"],
    "whole": ["full_chosen", "full_rejected"],
}
"""What is read of a StepPair row."""


def _pair(row: dict[str, Any], spec: dict[str, Any]) -> Any:
    """The pair of a row as the trainer takes it."""
    from models.train.pairs import Pair

    asked = fill(PromptText(**spec["prompt"]), problem=row["problem"])
    if spec["what"] == "whole":
        return Pair(row["id"], step_prompt(asked, ""), row["full_chosen"], row["full_rejected"])
    prompt = step_prompt(asked, row["prefix"])
    return Pair(row["id"], prompt, row["chosen"], row["rejected"], row["chosen_ends"], row["rejected_ends"])


if __name__ == "__main__":
    serve(_fit, sys.argv[1])
