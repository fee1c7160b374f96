"""Step judge, tool user and reasoner through the real engine and their real parsers: good replies occur, and malformed ones are counted."""

import asyncio
from collections import Counter
from itertools import islice

import pytest

from models import loop
from models.engine import Engine, Prompt, Sampling
from models.refs import EngineSpec, open_backend
from storage.ledger import open_ledger
from storage.schemas import Location, Solution
from tasks.locate_judge import LocateJudgeConfig, locate_judge
from tasks.nano.corpus import prompt_messages
from tasks.nano.flawed import answered
from tasks.nano.measure import held_out
from tasks.nano.roles.reasoner import fault
from tasks.nano.roles.tool_user import ROUNDS, Trajectory, continued, take
from tasks.nano_problems import as_problem
from tasks.solve import SolveConfig, solve
from tasks.stage import Rejected
from tasks.verify import VerifyConfig, verify

pytestmark = pytest.mark.slow

GREEDY = Sampling(temperature=0, max_tokens=600)
WILD = Sampling(temperature=2, max_tokens=120)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Engines by model name, over one ledger."""
    ledger = open_ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
    backends = {}

    def engine(name):
        if name not in backends:
            backends[name] = open_backend(EngineSpec(ref=f"nano:{name}"))
        return Engine(backends[name], ledger, concurrency=64)

    yield engine
    for backend in backends.values():
        loop.run(backend.close())
    ledger.close()


def gathered(coroutines):
    async def go():
        return await asyncio.gather(*coroutines)

    return loop.run(go())


async def drained(rows):
    return [row async for row in rows]


@pytest.fixture(scope="module")
def rollouts(opened):
    """(task, problem, reply) of the solver at temperature 1 on held-out problems."""
    tasks = held_out(0, 90)
    problems = [as_problem(t) for t in tasks]
    config = SolveConfig(samples=1, sampling=Sampling(temperature=1, max_tokens=200))
    replies = gathered([drained(solve(p, config, opened("solver"))) for p in problems])
    return [(t, p, r) for t, p, (r,) in zip(tasks, problems, replies, strict=True)]


def judged(opened, rollouts, sampling):
    config = LocateJudgeConfig(sampling=sampling)
    solutions = {p.id: [Solution("s" * 16, p.id, "r" * 16, t.solution.text, 9)] for t, p, _ in rollouts}
    return gathered([locate_judge(r, p, solutions[p.id], config, opened("step-judge")) for _, p, r in rollouts])


def test_the_step_judge_finds_most_first_wrong_steps_of_the_solver_and_passes_most_right_answers(opened, rollouts):
    verdicts = judged(opened, rollouts, GREEDY)
    known = [answered(t, r.text).first_wrong for t, _, r in rollouts]
    wrong = [v for v, k in zip(verdicts, known, strict=True) if k is not None]
    right = [v for v, k in zip(verdicts, known, strict=True) if k is None]
    found = [isinstance(v, Location) and v.first_wrong_step == k for v, k in zip(verdicts, known, strict=True) if k is not None]
    assert len(wrong) >= 15 and sum(found) >= 0.6 * len(wrong)
    assert sum(isinstance(v, Location) and v.first_wrong_step is None for v in right) >= 0.6 * len(right)
    assert {label for v in verdicts if isinstance(v, Location) for label in v.labels} >= {"correct", "incorrect"}


def test_malformed_decisions_of_the_step_judge_are_rejected_with_a_reason_that_can_be_counted(opened, rollouts):
    verdicts = judged(opened, rollouts[:24], WILD)
    reasons = Counter(v.reason for v in verdicts if isinstance(v, Rejected))
    assert reasons.total() > 0
    assert all(reason.startswith("judge") for reason in reasons)


async def conversation(task, engine, sampling):
    """A conversation with the tool user, asked through the engine turn by turn."""
    made = Trajectory(task)
    while not made.ended and made.programs < ROUNDS:
        chat = continued(prompt_messages("solve_tool", problem=task.statement), made.text)
        [reply] = await drained(engine.sample(Prompt(messages=chat), 1, sampling))
        take(made, reply.text, reply.finish_reason == "length")
    return made


def test_the_tool_user_writes_a_program_reads_its_output_and_boxes_it(opened):
    made = gathered([conversation(t, opened("tool-user"), GREEDY) for t in held_out(0, 40)])
    assert sum(t.ended == "boxed" for t in made) >= 34
    boxed = next(t for t in made if t.ended == "boxed")
    assert boxed.programs and boxed.text.index("```python") < boxed.text.index("```output") < boxed.text.index("\\boxed")


def test_an_error_in_a_program_comes_back_to_the_tool_user_which_writes_another(opened):
    tasks = [t for t in held_out(0, 400) if any(op.concept in ("gcd", "lcm", "probability") for op in t.composition.ops)][:24]
    made = gathered([conversation(t, opened("tool-user"), Sampling(temperature=1, max_tokens=200)) for t in tasks])
    again = [t for t in made if "NameError" in t.text]
    assert again and any(t.ended == "boxed" and t.programs > 1 for t in again)


def test_malformed_turns_of_the_tool_user_end_a_conversation_with_a_reason(opened):
    made = gathered([conversation(t, opened("tool-user"), WILD) for t in held_out(0, 24)])
    reasons = Counter(t.ended or "rounds" for t in made)
    assert set(reasons) <= {"boxed", "no program", "cut off", "rounds"}
    assert reasons["no program"] + reasons["cut off"] + reasons["rounds"] > 0


def reasoned(opened, count, sampling):
    config = SolveConfig(prompt="solve_long", samples=1, sampling=sampling)
    problems = [as_problem(t) for t in held_out(0, count)]
    replies = gathered([drained(solve(p, config, opened("reasoner"))) for p in problems])
    return [(p, r) for p, (r,) in zip(problems, replies, strict=True)]


def test_the_reasoner_thinks_then_answers_and_its_answers_are_verified_behind_the_think_block(opened):
    pairs = reasoned(opened, 30, GREEDY)
    formed = [(p, r) for p, r in pairs if fault(r) is None]
    assert len(formed) >= 20
    verdicts = Counter(verify(r, p, VerifyConfig()).verdict for p, r in islice(formed, 20))
    assert verdicts["correct"] >= 10
    assert any("it does not hold" in r.text or "not meant" in r.text for _, r in formed), "it tries again now and then"


def test_malformed_replies_of_the_reasoner_are_told_apart_by_reason(opened):
    reasons = Counter(fault(r) for _, r in reasoned(opened, 24, WILD))
    assert set(reasons) <= {None, "cut off", "not one think block", "no boxed answer"}
    assert reasons.total() > reasons[None]
