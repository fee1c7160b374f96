"""Fine-tune a model on one published training set: what a deployment runs when such a version is published."""

from flows.graph import Maker
from storage.schemas import Example
from tasks.train_sft import train_sft


def train(make: Maker) -> None:
    examples = make.dataset("examples", Example)
    make(train_sft, name="sft", examples=examples)
