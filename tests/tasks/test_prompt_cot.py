"""Concepts, rationales, drafts and judgements as stages: what a model says becomes rows, or rejects that are counted by reason."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from pydantic import ValidationError

from models.engine import Engine, Identity, Prompt, Reply, Sampling
from storage.ids import derived_id
from storage.ledger import open_ledger
from storage.schemas import Brief, Concepts, Draft, Judgement, Level, Problem, from_table, to_table
from tasks.extract_concepts import ExtractConceptsConfig, extract_concepts
from tasks.generate_problem import GenerateProblemConfig, generate_problem
from tasks.judge_problem import JudgeProblemConfig, judge_problem
from tasks.maths.tagged import write_tagged
from tasks.runner import Inputs, run_stage
from tasks.write_rationale import WriteRationaleConfig, write_rationale

PROBLEM = Problem("a" * 16, "ours", None, "Ada splits 12 pears in the ratio 1 : 2. How many are in the larger part?", "8", "integer", True)
BRIEF = Brief("b" * 16, "b" * 16, ["Ratios", "Percentages"], "AMC12")
DRAFT = Draft("d" * 16, "b" * 16, "b" * 16, ["Ratios"], "AMC12", "Why.", "What?", write_tagged("Why.", "What?"), None)
GOOD = "\n".join(
    f"{name}: so. Rating: Perfect" for name in ("FORMAT", "FACTUAL ACCURACY", "DIFFICULTY ALIGNMENT", "CONCEPT COVERAGE", "SOLVABILITY")
)


class Scripted:
    """A backend that says what a function makes of the last turn; a reply that fills `max_tokens` words is cut off."""

    identity = Identity("scripted", "1")
    seeded = True

    def __init__(self, say: Callable[[str], str]) -> None:
        self.say = say
        self.asked: list[str] = []

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        assert prompt.messages
        self.asked.append(prompt.messages[-1].content)
        words = self.say(self.asked[-1]).split(" ")
        cut = len(words) > sampling.max_tokens
        return Reply(" ".join(words[: sampling.max_tokens]), "length" if cut else "stop", 1, len(words))

    async def score(self, prompt, continuation):
        raise AssertionError("no stage here scores")

    async def embed(self, texts):
        raise AssertionError("no stage here embeds")

    async def check(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def play(tmp_path):
    """Run a stage on rows while the model says `say(what it is asked)`; gives the outcome and what was asked."""

    def run(stage, config, say, **rows):
        backend = Scripted(say)
        ledger = open_ledger(tmp_path / "ledger.sqlite")
        tables = {name: to_table(given, stage.row_inputs[name]) for name, given in rows.items()}
        try:
            engines = {"model": Engine(backend, ledger, stream=config.stream)}
            return run_stage(stage, config, Inputs(tables=tables, engines=engines)), backend.asked
        finally:
            ledger.close()

    return run


def rows(outcome, row_type):
    return from_table(outcome.rows, row_type)


# extract_concepts


def test_concepts_are_read_from_the_list_in_one_call(play):
    outcome, asked = play(extract_concepts, ExtractConceptsConfig(), lambda _: '```python\n["Ratios", "Sums"]\n```', problem=[PROBLEM])
    [made] = rows(outcome, Concepts)
    assert (made.concepts, made.form, made.problem_id, made.id) == (
        ["Ratios", "Sums"],
        "list",
        PROBLEM.id,
        derived_id("extract_concepts", PROBLEM.id),
    )
    assert len(asked) == len(made.call_ids) == 1
    assert PROBLEM.problem in asked[0] and "at most 5" in asked[0]


def test_a_reply_without_a_list_is_asked_again_for_lines(play):
    def say(asked: str) -> str:
        return "Knowledge Point: Ratios\nKnowledge Point: Sums" if "Knowledge Point" in asked else "Ratios and sums."

    outcome, asked = play(extract_concepts, ExtractConceptsConfig(), say, problem=[PROBLEM])
    [made] = rows(outcome, Concepts)
    assert (made.concepts, made.form, len(made.call_ids), len(asked)) == (["Ratios", "Sums"], "lines", 2, 2)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Ratios and sums.", "no concepts in the reply"),
        ('```python\n["a", "b", "c"]\n```', "too many concepts"),
        ('```python\n["a"]\n```' + " and so on" * 50, "no concepts in the reply"),
    ],
)
def test_replies_without_concepts_with_too_many_or_cut_off_are_rejected(play, reply, reason):
    config = ExtractConceptsConfig(count=2, sampling=Sampling(temperature=0, max_tokens=20))
    outcome, _ = play(extract_concepts, config, lambda _: reply, problem=[PROBLEM])
    assert outcome.rejected == {reason: 1}


# write_rationale


def write(play, say, levels=(Level("l", PROBLEM.id, "AMC12"),), config=WriteRationaleConfig()):
    concepts = Concepts("c" * 16, PROBLEM.id, ["Ratios", "Sums"], "list")
    return play(write_rationale, config, say, concepts=[concepts], problem=[PROBLEM], levels=levels)


def test_a_rationale_is_what_stands_behind_the_marker(play):
    outcome, [asked] = write(play, lambda _: "Thinking Process: First a ratio.\nThen a sum.")
    [made] = from_table(outcome.rows, write_rationale.output)
    assert (made.rationale, made.level, made.concepts_id, made.problem_id) == (
        "First a ratio.\nThen a sum.",
        "AMC12",
        "c" * 16,
        PROBLEM.id,
    )
    assert all(text in asked for text in ("1. Ratios\n2. Sums", "Difficulty Level: AMC12", PROBLEM.problem))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("First a ratio.", "no thinking process"),
        ("Thinking Process:", "empty thinking process"),
        ("Thinking Process: " + "so " * 90, "cut off"),
    ],
)
def test_a_reply_without_a_rationale_is_rejected(play, reply, reason):
    config = WriteRationaleConfig(sampling=Sampling(max_tokens=40))
    assert write(play, lambda _: reply, config=config)[0].rejected == {reason: 1}


def test_a_problem_without_a_level_is_rejected_before_any_call(play):
    outcome, asked = write(play, lambda _: "Thinking Process: x", levels=())
    assert (outcome.rejected, asked) == ({"no level": 1}, [])


# generate_problem


def test_a_draft_keeps_what_was_asked_for_and_what_was_said(play):
    text = "Here it is.\n" + write_tagged("Why.", "What is 3 + 4?")
    outcome, [asked] = play(generate_problem, GenerateProblemConfig(), lambda _: text, brief=[BRIEF])
    [made] = rows(outcome, Draft)
    assert (made.rationale, made.problem, made.text) == ("Why.", "What is 3 + 4?", text)
    assert (made.concepts, made.level, made.brief_id, made.problem_id) == (BRIEF.concepts, BRIEF.level, BRIEF.id, BRIEF.problem_id)
    assert "1. Ratios\n2. Percentages" in asked and "Difficulty Level: AMC12" in asked


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("What is 3 + 4?", "no BEGIN RATIONALE tag"),
        (write_tagged("Why.", "What?").removesuffix("<!-- END PROBLEM -->"), "no END PROBLEM tag"),
        (write_tagged("Why.", "What?") + write_tagged("Why.", "What?"), "a tag is there twice"),
        (write_tagged("Why.", "What?") + " more" * 90, "cut off"),
    ],
)
def test_a_malformed_draft_is_rejected_with_its_reason(play, reply, reason):
    config = GenerateProblemConfig(sampling=Sampling(max_tokens=40))
    assert play(generate_problem, config, lambda _: reply, brief=[BRIEF])[0].rejected == {reason: 1}


# judge_problem


def judged(play, reply, draft=DRAFT, **config):
    outcome, asked = play(judge_problem, JudgeProblemConfig(**config), lambda _: reply, draft=[draft])
    [made] = rows(outcome, Judgement)
    return made, asked


def test_a_judgement_has_its_ratings_and_its_verdict(play):
    made, [asked] = judged(
        play, GOOD.replace("ALIGNMENT: so. Rating: Perfect", "ALIGNMENT: so. Rating: Acceptable") + "\nFinal Judgement: perfect"
    )
    assert (made.verdict, made.difficulty_alignment, made.solvability, made.draft_id) == ("perfect", "acceptable", "perfect", DRAFT.id)
    assert all(text in asked for text in ("- Ratios", "AMC12", DRAFT.text))
    assert made.call_id


@pytest.mark.parametrize("verdict", ["not perfect", "imperfect", "acceptable (not perfect)", "bad. to be perfect it needs more"])
def test_what_is_no_clear_verdict_is_unknown_and_never_perfect(play, verdict):
    made, _ = judged(play, f"{GOOD}\nFinal Judgement: {verdict}")
    assert (made.verdict, made.why) == ("unknown", "no clear verdict")


def test_a_judgement_that_was_cut_off_is_unknown(play):
    made, _ = judged(play, f"{GOOD}\nFinal Judgement: perfect", sampling=Sampling(max_tokens=18))
    assert (made.verdict, made.why) == ("unknown", "cut off")


def test_a_draft_whose_tags_are_wrong_is_bad_and_costs_no_call(play):
    made, asked = judged(
        play, f"{GOOD}\nFinal Judgement: perfect", draft=replace(DRAFT, text=DRAFT.text.replace("<!-- END PROBLEM -->", ""))
    )
    assert (made.verdict, made.format, made.solvability, made.why, made.call_id) == ("bad", "bad", None, "no END PROBLEM tag", None)
    assert asked == []


def test_two_judges_are_two_runs_whose_rows_have_the_same_ids(play):
    strict, _ = judged(play, GOOD.replace("SOLVABILITY: so. Rating: Perfect", "SOLVABILITY: no. Rating: Bad") + "\nFinal Judgement: bad")
    lenient, _ = judged(play, f"{GOOD}\nFinal Judgement: perfect", stream="second")
    assert strict.id == lenient.id and (strict.verdict, lenient.verdict) == ("bad", "perfect")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (ExtractConceptsConfig, "prompt"),
        (ExtractConceptsConfig, "fallback"),
        (WriteRationaleConfig, "prompt"),
        (GenerateProblemConfig, "prompt"),
        (JudgeProblemConfig, "prompt"),
    ],
)
def test_a_prompt_with_other_holes_is_refused_before_any_call(tmp_path, config, field):
    file = tmp_path / "mine.md"
    file.write_text("Do it with [[nothing]].", encoding="utf-8")
    with pytest.raises(ValidationError, match="has the holes"):
        config(**{field: f"@{file}"})
