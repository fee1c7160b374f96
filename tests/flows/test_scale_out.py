"""Many workers over one store: each takes parts that no other one is making, and the objects are those that one worker makes."""

import json
import multiprocessing
import random
from pathlib import Path

import pytest
from pydantic import create_model

from flows.config import Form, RecipeConfig, RunOptions
from flows.make import Make, Silent, in_threads
from flows.session import Session
from storage.store import Store
from tasks.contamination import ContaminationConfig, contamination
from tasks.dedup import DedupConfig, dedup
from tasks.import_problems import ImportProblemsConfig, import_problems

STAGES = {"problems": ImportProblemsConfig, "heldout": ImportProblemsConfig, "marks": ContaminationConfig, "clusters": DedupConfig}
NAMES, THINGS = ["Ada", "Kim", "Bo", "Zoë", "Lin"], ["pears", "boats", "lamps", "stamps", "candles"]
TELL = "{} has {} {} and gives away {} of them each week. How many {} are left after {} weeks, when {} more have been bought?"


def invented(rng: random.Random) -> str:
    thing = rng.choice(THINGS)
    return TELL.format(rng.choice(NAMES), rng.randint(40, 99), thing, rng.randint(2, 9), thing, rng.randint(2, 6), rng.randint(2, 30))


def files(folder: Path) -> dict[str, str]:
    rng = random.Random(3)
    heldout = [invented(rng) for _ in range(20)]
    problems = [invented(rng) for _ in range(300)] + [text.upper() for text in heldout] + [heldout[0] + " Explain."]
    for name, texts in (("problems", problems), ("heldout", heldout)):
        lines = [json.dumps({"id": f"{name} {i}", "problem": text, "answer": "9"}) for i, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return {name: str(folder / f"{name}.jsonl") for name in ("problems", "heldout")}


def work(root: Path, inputs: dict[str, str], run_id: str) -> None:
    """What one worker does."""
    rule = {"marks": ContaminationConfig(mask_from=None, masked_ratio=1, lcs_ratio=0.95)}  # one template: numbers tell problems apart
    form = create_model("Form", __base__=Form, **{name: (config, rule.get(name, config())) for name, config in STAGES.items()})
    with Store.open(root) as store:
        session = Session(store, RecipeConfig("mine", "mine", form(run=RunOptions(buckets=16))), run_id=run_id)
        make = Make(session, in_threads(1), inputs, Silent())
        problems, heldout = (make(import_problems, records=make.input(name), name=name) for name in ("problems", "heldout"))
        make(contamination, problems, name="marks", against=heldout)
        make(dedup, problems, name="clusters")
        session.close()
        make.finish()


def objects(root: Path) -> dict[tuple[str, str], str]:
    """The content of every part of every dataset."""
    with Store.open(root) as store:
        return {(head.dataset, slot.part): slot.content for head in store.heads() for slot in store.slots(head)}


def makers(root: Path, dataset: str) -> set[str]:
    """The runs that made the parts of a dataset."""
    with Store.open(root) as store:
        found = store.lookup_many([slot.shard_key for slot in store.slots(dataset)])
        return {shard.run_id for shard in found.values()}


@pytest.mark.slow
def test_two_workers_make_the_same_objects_as_one(tmp_path):
    inputs = files(tmp_path)
    work(tmp_path / "one", inputs, "alone")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(tmp_path / "two", inputs, run_id)) for run_id in ("left", "right")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert objects(tmp_path / "two") == objects(tmp_path / "one")
    assert len(objects(tmp_path / "one")) == 4 * 16
    assert makers(tmp_path / "two", "mine.marks") <= {"left", "right"}
    with Store.open(tmp_path / "two") as store:
        assert [head.n for head in store.heads()] == [1, 1, 1, 1]
        assert sum(store.table("mine.marks")["contaminated"].to_pylist()) >= 21
        assert sum(not keep for keep in store.table("mine.clusters")["keep"].to_pylist()) >= 1


def test_runs_begin_at_parts_of_their_own(tmp_path):
    begun = {}
    for run_id in ("left", "right"):
        order: list[str] = []

        def one_by_one(call, todo, run_one, order=order):
            order += [job.label for job in todo] if call.name == "marks" else []
            return [run_one(job, lambda done, total: None) for job in todo]

        inputs = files(tmp_path)
        form = create_model("Form", __base__=Form, **{name: (config, config()) for name, config in STAGES.items()})
        with Store.open(tmp_path / run_id) as store:
            session = Session(store, RecipeConfig("mine", "mine", form(run=RunOptions(buckets=16))), run_id=run_id)
            make = Make(session, one_by_one, inputs, Silent())
            problems, heldout = (make(import_problems, records=make.input(name), name=name) for name in ("problems", "heldout"))
            make(contamination, problems, name="marks", against=heldout)
            session.close()
        begun[run_id] = order
    assert sorted(begun["left"]) == sorted(begun["right"]) and len(begun["left"]) == 16
    assert begun["left"][0] != begun["right"][0]
