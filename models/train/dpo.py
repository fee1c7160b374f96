"""Preference training with TRL's DPOTrainer: DPO (Rafailov et al. 2023) and Step-DPO (Lai et al. 2024, equation 2).

The two differ in the rows alone. Pairs come encoded (`models.train.pairs`), so TRL neither renders, nor cuts, nor appends its end token.
The log-probabilities of the reference, which is the base, are computed once before the first step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from models.train.encode import Tokens
from models.train.fitting import Fit, Fitted, Progress, Report, arguments, last_checkpoint, load, run
from models.train.pairs import EncodedPair

Loss = Literal["sigmoid", "sigmoid_norm", "hinge", "ipo", "apo_zero"]
_FIGURES = {
    "loss": "loss",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
}
_SHOWN = {**_FIGURES, **{f"eval_{theirs}": f"held_out_{ours}" for theirs, ours in _FIGURES.items()}}
"""Rewards are beta times the log-ratio to the reference; accuracy is the share of pairs whose chosen reward is the higher one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dpo(Fit):
    """A preference fit; `tasks.train_dpo` documents the fields."""

    beta: float
    loss: Loss
    nll: float
    eval_steps: int


class _Encoded(DPOTrainer):
    """Takes rows of prompt_ids, chosen_ids and rejected_ids as they are. TRL would tokenise texts and end every one of them."""

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: DPOConfig, dataset_name: str) -> Any:
        return dataset


def fit(
    pairs: Sequence[EncodedPair],
    settings: Dpo,
    base: Path,
    work: Path,
    progress: Progress = lambda step, steps, figures: None,
    held_out: Sequence[EncodedPair] = (),
) -> Fitted:
    """Train `base` on the pairs and write the model to `work/model`. Killed and called again, it goes on at its last whole checkpoint.

    Reward accuracy and margin on the `held_out` pairs are reported every `eval_steps` steps.
    """
    return run(make_trainer(pairs, settings, base, work, progress, held_out), base, work, _SHOWN)


def make_trainer(
    pairs: Sequence[EncodedPair], settings: Dpo, base: Path, work: Path, progress: Progress, held_out: Sequence[EncodedPair] = ()
) -> DPOTrainer:
    """The trainer before its first step, the log-probabilities of the reference computed."""
    common = arguments(settings, work / "checkpoints")
    return _Encoded(
        model=load(base),
        args=DPOConfig(
            **common,
            beta=settings.beta,
            loss_type=[settings.loss, "sft"] if settings.nll else [settings.loss],
            loss_weights=[1.0, settings.nll] if settings.nll else [1.0],
            precompute_ref_log_probs=True,
            eval_strategy="steps" if held_out else "no",
            eval_steps=settings.eval_steps,
            eval_on_start=bool(held_out) and last_checkpoint(work / "checkpoints") is None,
            per_device_eval_batch_size=common["per_device_train_batch_size"],
        ),
        train_dataset=_table(pairs),
        eval_dataset=_table(held_out) if held_out else None,
        processing_class=Tokens(base).tokenizer,
        callbacks=[Report(progress, _SHOWN)],
    )


def _table(pairs: Sequence[EncodedPair]) -> Dataset:
    return Dataset.from_dict({name: [getattr(pair, name) for pair in pairs] for name in EncodedPair._fields})
