"""Command line of the laboratory."""

import argparse
import sys
from pathlib import Path

import torch

from benchmarks.lab import bases, pass_at_k, sft_curve, step_dpo

_EXPERIMENTS = {"sft-curve": sft_curve.run, "pass-at-k": pass_at_k.run, "step-dpo": step_dpo.run}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab", description="Experiments on nano models over several seeds.")
    parser.add_argument("experiment", choices=["bases", *_EXPERIMENTS])
    parser.add_argument(
        "--work", type=Path, default=Path("mathmill-lab"), help="folder of what is finished; the same command goes on there"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--plots", type=Path, default=Path("docs/lab"), help="folder of the SVG files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.experiment == "bases":
        for seed in options.seeds:
            print(bases.base(options.work, seed), flush=True)
    else:
        _EXPERIMENTS[options.experiment](options.work, options.seeds, options.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
