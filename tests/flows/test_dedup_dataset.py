"""Near-duplicates as a dataset: clusters lie in the parts of their problems, and an earlier version of the problems comes first."""

import json
from pathlib import Path

from pydantic import create_model

from flows.config import Form, RecipeConfig, RunOptions
from flows.make import Make, Silent, in_threads
from flows.session import Session
from storage.store import Store
from tasks.dedup import DedupConfig, dedup
from tasks.import_problems import ImportProblemsConfig, import_problems

PEARS = "Ada has thirteen green pears and eats four of them while it rains. How many pears does Ada have left over?"
BOATS = "Kim folds paper boats. She folds four in a minute and sells them by the dozen. How long does she work for nine dozen?"
STAGES = {"old": ImportProblemsConfig, "new": ImportProblemsConfig, "alone": DedupConfig, "behind": DedupConfig}


def write(path: Path, **texts: str) -> str:
    lines = [json.dumps({"id": name, "problem": text, "answer": "9"}) for name, text in texts.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_clusters_of_a_new_version_alone_and_behind_an_old_one(tmp_path):
    files = {"old": write(tmp_path / "old.jsonl", a=PEARS), "new": write(tmp_path / "new.jsonl", b=BOATS, c=BOATS.upper(), d=PEARS + "?")}
    form = create_model("Form", __base__=Form, **{name: (config, config()) for name, config in STAGES.items()})
    with Store.open(tmp_path / "store") as store:
        session = Session(store, RecipeConfig("mine", "mine", form(run=RunOptions(buckets=3))))
        make = Make(session, in_threads(2), files, Silent())
        old, new = (make(import_problems, records=make.input(name), name=name) for name in ("old", "new"))
        make(dedup, new, name="alone")
        make(dedup, new, against=old, name="behind")
        session.close()
        make.finish()
        ids = {row["id"]: row["source_id"] for name in ("mine.old", "mine.new") for row in store.table(name).to_pylist()}
        kept = {
            name: {ids[row["problem_id"]]: row["keep"] for row in store.table(f"mine.{name}").to_pylist()} for name in ("alone", "behind")
        }
        parts = {name: {(slot.part, slot.n_rows) for slot in store.slots(f"mine.{name}")} for name in ("new", "alone", "behind")}
        behind = next(row for row in store.table("mine.behind").to_pylist() if ids[row["problem_id"]] == "d")
    assert sum(kept["alone"].values()) == 2 and kept["alone"]["d"]
    assert kept["behind"] == kept["alone"] | {"d": False} and ids[behind["cluster"]] == "a"
    assert parts["new"] == parts["alone"] == parts["behind"]
