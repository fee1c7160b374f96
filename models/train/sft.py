"""Supervised fine-tuning with TRL's SFTTrainer: loss on the completions, exact resume from its own checkpoints.

Rows come encoded (`models.train.encode`), so TRL neither renders, nor cuts, nor appends.
"""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from models.train.encode import Encoded, Tokens
from models.train.fitting import Fit, Fitted, Progress, Report, arguments, load, run

_SHOWN = {"loss": "loss"}


def fit(rows: Sequence[Encoded], settings: Fit, base: Path, work: Path, progress: Progress = lambda step, steps, figures: None) -> Fitted:
    """Train `base` on the rows and write the model to `work/model`. Killed and called again, it goes on at its last whole checkpoint."""
    trainer = SFTTrainer(
        model=load(base),
        args=SFTConfig(**arguments(settings, work / "checkpoints"), packing=False),
        train_dataset=Dataset.from_dict({"input_ids": [r.input_ids for r in rows], "labels": [r.labels for r in rows]}),
        processing_class=Tokens(base).tokenizer,
        callbacks=[Report(progress, _SHOWN)],
    )
    return run(trainer, base, work, _SHOWN)
