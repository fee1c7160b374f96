"""Recipes as graphs: rows are matched by their class, everything else by name, and mistakes are found by reading a recipe."""

import pytest

from flows.config import load_recipe, outline, recipe_names
from flows.graph import Outline, Ref, bind
from storage.schemas import Mark, Problem, Protected, Rollout, Solution, Verdict
from tasks.contamination import contamination
from tasks.dedup import dedup
from tasks.difficulty import difficulty
from tasks.evaluate import evaluate
from tasks.import_problems import import_problems
from tasks.solve import solve
from tasks.train_sft import train_sft
from tasks.training_set import training_set
from tasks.verify import verify

PROBLEMS, ROLLOUTS, VERDICTS = Ref("r.problems", Problem), Ref("r.solve", Rollout), Ref("r.verify", Verdict)
SOLUTIONS, MARKS, HELDOUT = Ref("r.distill", Solution), Ref("r.marks", Mark), Ref("r.heldout", Problem)


def test_rows_find_their_parameters_in_any_order():
    for rows in ([PROBLEMS, VERDICTS, ROLLOUTS], [ROLLOUTS, PROBLEMS, VERDICTS]):
        call = bind(difficulty, rows, None, None, {})
        assert call.rows == {"problem": PROBLEMS, "verdicts": VERDICTS, "rollouts": ROLLOUTS}
    assert call.name == "difficulty" and list(call.inputs) == ["rollouts", "problem", "verdicts"]


def test_an_optional_input_may_be_left_out():
    assert bind(contamination, [PROBLEMS], None, None, {"against": HELDOUT}).rows == {"problems": PROBLEMS}
    assert bind(contamination, [PROBLEMS, SOLUTIONS], "marks", None, {"against": HELDOUT}).inputs == {
        "problems": PROBLEMS, "solutions": SOLUTIONS, "against": HELDOUT,
    }  # fmt: skip
    assert bind(dedup, [PROBLEMS], None, None, {}).inputs == {"problems": PROBLEMS}
    assert bind(dedup, [PROBLEMS], None, None, {"against": HELDOUT}).inputs == {"problems": PROBLEMS, "against": HELDOUT}


def test_a_checkpoint_stands_in_for_a_model():
    student = Ref("r.sft", Rollout)
    assert bind(solve, [PROBLEMS], "after", None, {"model": student}).checkpoints == {"model": student}


@pytest.mark.parametrize(
    ("stage", "rows", "named", "said"),
    [
        (verify, [ROLLOUTS], {}, r"stage 'verify' also needs problem \(Problem\)"),
        (verify, [ROLLOUTS, PROBLEMS, PROBLEMS], {}, r"stage 'verify' takes rollout \(Rollout\), problem \(Problem\), got r.problems"),
        (verify, [VERDICTS, PROBLEMS], {}, r"stage 'verify' takes .* got r.verify of Verdict rows"),
        (evaluate, [VERDICTS], {}, r"stage 'evaluate' also needs rollouts \(Rollout\)"),
        (contamination, [PROBLEMS], {}, r"stage 'contamination' takes by name \['against'\]"),
        (contamination, [PROBLEMS], {"againts": HELDOUT}, r"takes by name \['against'\] and, as checkpoints, \[\]; got \['againts'\]"),
        (solve, [PROBLEMS], {"judge": HELDOUT}, r"and, as checkpoints, \['model'\]; got \['judge'\]"),
        (import_problems, [], {}, r"takes by name \['records'\]"),
        (train_sft, [PROBLEMS], {}, r"stage 'train_sft' takes no rows, got r.problems"),
    ],
)
def test_what_does_not_fit_is_told_with_what_the_stage_takes(stage, rows, named, said):
    with pytest.raises(TypeError, match=said):
        bind(stage, rows, None, None, named)


def test_a_dataset_cannot_be_made_under_a_name_that_is_none():
    with pytest.raises(ValueError, match="no dataset name 'Bad name'"):
        bind(verify, [ROLLOUTS, PROBLEMS], "Bad name", None, {})


def test_making_a_dataset_twice_is_told():
    def twice(make):
        problems = make(import_problems, records=make.input("problems"))
        make(solve, problems)
        make(solve, problems)

    with pytest.raises(TypeError, match="recipe 'twice' makes 'solve' twice: give one of them another name="):
        twice(Outline("twice"))


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_can_be_read_without_running_it(name):
    found = outline(name)
    load_recipe(name)(Outline(name))
    assert found.calls and all(call.stage.output for call in found.calls.values())


def test_recipes_name_the_inputs_a_person_has_to_give():
    assert {name: outline(name).inputs for name in ("gsm8k", "solve", "tiny", "train")} == {
        "gsm8k": {"problems": "FILE", "benchmarks": "FILE"},
        "solve": {"problems": "FILE"},
        "tiny": {},
        "train": {"examples": "DATASET"},
    }


@pytest.mark.parametrize("name", recipe_names())
def test_every_training_set_of_a_recipe_names_what_it_is_protected_from(name):
    for call in outline(name).calls.values():
        if getattr(call.stage.output, "trains", False):
            assert call.protected is not None and call.protected.row in (Problem, Protected)


def test_what_a_training_set_is_protected_from_is_one_of_its_inputs():
    call = bind(training_set, [SOLUTIONS, PROBLEMS, MARKS], None, HELDOUT, {})
    assert call.inputs["protected"] is HELDOUT
