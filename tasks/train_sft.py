"""Fine-tune a model on a training set: SFT on completions (recipes: Qwen2.5-Math section 3, PromptCoT section 4).

It runs in a process of its own, which writes its checkpoints into the shard's folder, so that a killed training goes on where
it was, and which exits with its parent. A dataset without a contamination certificate is refused.
"""

import sys
from pathlib import Path
from typing import Any

from storage.schemas import Checkpoint
from tasks.prompts import PromptText, fill
from tasks.stage import Dataset, ModelFolder, Workdir, stage
from tasks.training import Result, TrainConfig, progress_into, rows_of, serve, train


class TrainSftConfig(TrainConfig):
    """What is trained, and how."""


@stage(scope="dataset", revision=1)
def train_sft(examples: Dataset, base: ModelFolder, work: Workdir, config: TrainSftConfig) -> Checkpoint:
    """The trained model, adopted into the store. Raises ValueError for a set without its certificate, TrainingError when training fails."""
    return train("tasks.train_sft", "sft", examples, base, work, config, config.settings())


def _fit(spec: dict[str, Any], folder: Path) -> Result:
    """In the process."""
    from models.train.encode import Row, Tokens, encode_all
    from models.train.fitting import Fit, last_checkpoint
    from models.train.sft import fit
    from models.train.smoke import smoke_fit

    base, settings, prompt = Path(spec["base"]), Fit(**spec["settings"]), PromptText(**spec["prompt"])
    examples = rows_of(spec, ["id", "problem", "completion"])
    asked = (Row(r["id"], fill(prompt, problem=r["problem"]), r["completion"]) for r in examples)
    rows, too_long = encode_all(Tokens(base), asked, spec["max_length"])
    if last_checkpoint(folder / "checkpoints") is None:
        smoke_fit(base, rows, settings.lr)
    fitted = fit(rows, settings, base, folder, progress_into(folder / "progress.jsonl"))
    return {
        "folder": str(fitted.folder),
        "losses": fitted.losses,
        "resumed_from": fitted.resumed_from,
        "n_rows": len(rows),
        "too_long": too_long,
    }


if __name__ == "__main__":
    serve(_fit, sys.argv[1])
