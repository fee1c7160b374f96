"""Promise 1: what was paid for is never asked again. Real runs of the command, a real server, real SIGKILL."""

import pytest

from benchmarks import resume

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was killed at half and then finished, with what that cost."""
    bench = resume.fresh(tmp_path_factory.mktemp("pay"))
    return bench, resume.killed(bench)


def test_a_killed_run_asks_again_only_what_was_in_flight(finished):
    _, found = finished
    assert found["exit"] == 0
    assert 0 <= found["repeated"] <= 8
    assert found["rows"] == resume.PROBLEMS


def test_an_edited_prompt_asks_everything_once(finished):
    bench, _ = finished
    assert resume.edited(bench) == {"exit": 0, "calls": resume.PROBLEMS}


def test_twenty_new_problems_at_the_front_are_twenty_calls(finished):
    bench, _ = finished
    assert resume.extended(bench) == {"exit": 0, "calls": 20, "rows": resume.PROBLEMS + 20}


def test_failing_rows_are_quarantined_with_a_reason_and_heal_with_one_call_each(tmp_path):
    found = resume.failing(resume.fresh(tmp_path))
    assert (found["exit"], found["rows"], len(found["quarantined"])) == (3, 190, 10)
    assert {row["fate"] for row in found["quarantined"]} == {"quarantined"}
    assert all("500" in row["detail"] for row in found["quarantined"])
    assert (found["heal_exit"], found["heal_calls"], found["heal_rows"]) == (0, 10, resume.PROBLEMS)


def test_no_row_of_an_old_prompt_survives_a_restart_with_a_new_one(tmp_path):
    assert resume.mixed(resume.fresh(tmp_path)) == {"exit": 0, "v1": 0, "v2": resume.PROBLEMS}
