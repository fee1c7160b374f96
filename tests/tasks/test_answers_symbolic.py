"""The last tier and hostile answers: bounded in time, deaf to code, alive after a kill, usable from any thread."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.maths.answers import Judgement, verify_answer
from tasks.maths.extract import find_answer
from tasks.maths.symbolic import equal_by_math_verify, warm, worker_pids

HOSTILE = {
    "tower": "9^{9^{9^9}}",
    "factorial": "10^6!",
    "factorial of a power": "(10^6)!",
    "open braces": "{" * 10_000,
    "nested parentheses": "(" * 300 + "1" + ")" * 300,
    "long word": "x" * 10_000,
    "long sum": "1+" * 3_000 + "1",
    "long set": "\\{" + ",".join(map(str, range(1000))) + "\\}",
    "long symbolic set": "\\{" + ",".join(f"x^{{{i}}}+\\ln {i + 2}" for i in range(1000)) + "\\}",
    "long decimal": "0." + "3" * 5_000,
    "nested boxes": "\\boxed{" * 1_000,
    "nested roots": "\\sqrt{" * 200 + "2" + "}" * 200,
    "hard integral": r"\int_0^1 \frac{\ln(1+x^{2+\sqrt3})}{1+x}dx",
    "long symbolic sum": r"\sum_{k=1}^{10^9} \frac{1}{k!}",
    "lambda": "(lambda:open('x','w'))()",
    "import": "__import__('os').system('touch x')",
    "latex around code": r"\frac{__import__('os').system('touch x')}{1}",
    "attribute code": "().__class__.__bases__[0].__subclasses__()",
}


@pytest.fixture(scope="module", autouse=True)
def workers():
    warm()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_comes_to_an_end_is_never_correct_and_creates_no_file(name):
    judgements = [verify_answer("1", HOSTILE[name], limit_s=0.5), verify_answer(HOSTILE[name], "1", limit_s=0.5)]
    assert all(j.verdict != "correct" for j in judgements)
    assert not any((folder / "x").exists() for folder in (Path.cwd(), Path(__file__).parents[2]))


def test_code_that_reaches_a_worker_does_not_run(tmp_path):
    mark = tmp_path / "x"
    for payload in (f"__import__('os').system('touch {mark}')", f"(lambda:open('{mark}','w'))()", f"open('{mark}','w')"):
        equal_by_math_verify("1", payload, 5.0)
    assert not mark.exists()


def test_what_only_algebra_decides_is_decided():
    assert verify_answer(r"\int_0^1 x\,dx", r"\frac{1}{2}", limit_s=30) == Judgement("correct", "symbolic")
    assert verify_answer(r"\sum_{k=1}^{10} k", "56", limit_s=30) == Judgement("wrong", "symbolic")


def test_an_equation_is_not_judged_by_its_last_side():
    ours, other = r"\int_0^{2 \pi} \sin t\,dt = 0", r"\int_0^{\pi} \sin t\,dt = 0"
    assert verify_answer(ours, other, limit_s=30).verdict == "unknown"


def test_a_pair_that_takes_too_long_is_unknown_and_the_next_one_is_answered():
    assert equal_by_math_verify(r"\sum_{k=1}^{10^9} \frac{1}{k!}", "2", 0.3) is None
    assert equal_by_math_verify(r"\frac{2}{4}", r"\frac{1}{2}", 30) is True


def test_a_killed_worker_is_replaced_and_the_pair_still_judged():
    for pid in worker_pids():
        os.kill(pid, signal.SIGKILL)
    assert equal_by_math_verify("x+y", "y+x", 30) is True


def test_an_interrupted_question_leaves_no_answer_for_the_next():
    def interrupt(*_):
        raise InterruptedError("enough")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(InterruptedError):
            equal_by_math_verify(r"\sum_{k=1}^{10^9} \frac{1}{k!}", "2", 20)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert equal_by_math_verify(r"\frac{2}{4}", r"\frac{1}{2}", 30) is True


@pytest.mark.slow
def test_a_worker_killed_while_it_works_costs_a_retry_not_the_verdict():
    verdicts = []
    asking = threading.Thread(target=lambda: verdicts.append(equal_by_math_verify(r"\int_0^1 x^7 dx", r"\frac{1}{8}", 60)))
    asking.start()
    time.sleep(0.05)
    for pid in worker_pids():
        os.kill(pid, signal.SIGKILL)
    asking.join()
    assert verdicts == [True]


@pytest.mark.slow
def test_many_threads_at_once_get_the_right_verdicts():
    pairs = [(f"\\sum_{{k=1}}^{{{n}}} k", str(n * (n + 1) // 2 + wrong)) for n in range(3, 15) for wrong in (0, 1)]
    with ThreadPoolExecutor(12) as threads:
        verdicts = list(threads.map(lambda pair: verify_answer(*pair, limit_s=60).verdict, pairs))
    assert verdicts == ["correct", "wrong"] * 12


@pytest.mark.slow
def test_a_forked_child_has_workers_of_its_own():
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if equal_by_math_verify("a+b", "b+a", 60) is True else 2
        finally:
            for pid in worker_pids():
                os.kill(pid, signal.SIGKILL)
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert equal_by_math_verify("x+1", "1+x", 30) is True


def test_published_labels_of_real_replies_are_met():
    data = Path(os.environ.get("MATHMILL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = data / "problems" / "gsm8k_model_solutions.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is absent: set MATHMILL_TEST_DATA")
    agreed = total = 0
    for line in path.open(encoding="utf-8"):
        row = json.loads(line)
        gold = find_answer(row["ground_truth"])
        for value in row.values():
            if isinstance(value, dict):
                given = find_answer(value["solution"])
                verdict = verify_answer(gold, given, question=row["question"]).verdict if given else "wrong"
                agreed += verdict == ("correct" if value["is_correct"] else "wrong")
                total += 1
    assert total == 4 * 1319
    assert agreed / total >= 0.999
