"""The laboratory's harness: intervals, finished pieces on disk, plots, and a whole small experiment on the shipped solver."""

import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.lab.cells import Cells
from benchmarks.lab.plot import Line, plot
from benchmarks.lab.statistics import difference, estimate

ROOT = Path(__file__).parents[1]


def seeds_of(spread: float, problems: int = 200, seeds: int = 5) -> list[np.ndarray]:
    """Right or wrong for each problem; the seeds' true accuracies are `spread` apart around a half."""
    random = np.random.default_rng(3)
    return [(random.random(problems) < 0.5 + spread * (n - (seeds - 1) / 2)).astype(float) for n in range(seeds)]


def test_an_estimate_gives_the_mean_the_deviation_of_the_seeds_and_an_interval_around_the_mean():
    found = estimate([[1, 1, 0, 0], [1, 1, 1, 0]])
    assert found.mean == pytest.approx(0.625)
    assert found.sd == pytest.approx(np.std([0.5, 0.75], ddof=1))
    assert found.low < found.mean < found.high
    assert found.seeds == [0.5, 0.75]


def test_seeds_that_differ_widen_the_interval_beyond_what_problems_alone_would():
    alike, apart = (estimate(seeds_of(spread)) for spread in (0.0, 0.1))
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_the_interval_of_a_mean_narrows_with_the_number_of_problems():
    few, many = (estimate(seeds_of(0.0, problems)) for problems in (50, 5000))
    assert many.high - many.low < (few.high - few.low) / 3


def test_a_difference_is_paired_so_that_what_both_share_does_not_widen_it():
    theirs = seeds_of(0.1)
    ours = [np.where(np.arange(len(row)) < 20, 1.0, row) for row in theirs]
    paired = difference(ours, theirs)
    assert paired.mean == pytest.approx(np.mean([(a - b).mean() for a, b in zip(ours, theirs, strict=True)]))
    alone = estimate(ours)
    assert paired.high - paired.low < (alone.high - alone.low) / 3
    nothing = difference(theirs, theirs)
    assert (nothing.mean, nothing.low, nothing.high) == (0.0, 0.0, 0.0)


def test_ninety_five_of_a_hundred_intervals_over_many_seeds_hold_the_truth():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        truths = np.clip(random.normal(0.6, 0.05, 20), 0, 1)
        found = estimate([(random.random(60) < p).astype(float) for p in truths], resamples=200)
        held += found.low <= 0.6 <= found.high
    assert 88 <= held <= 100


def test_one_seed_has_no_spread():
    with pytest.raises(ValueError, match="1 seeds: a spread over seeds needs two or more"):
        estimate([[1.0, 0.0]])


def test_a_finished_piece_is_not_made_again_and_other_settings_make_another(tmp_path: Path):
    made = []

    def make(value: int) -> list[int]:
        made.append(value)
        return [value]

    cells = Cells(tmp_path)
    assert [cells.get("a", {"lr": 0.1}, lambda: make(1)) for _ in range(2)] == [[1], [1]]
    assert Cells(tmp_path).get("a", {"lr": 0.1}, lambda: make(2)) == [1]
    assert cells.get("a", {"lr": 0.2}, lambda: make(3)) == [3]
    assert made == [1, 3]


def test_a_piece_whose_making_failed_leaves_nothing(tmp_path: Path):
    with pytest.raises(ZeroDivisionError):
        Cells(tmp_path).get("a", 1, lambda: 1 // 0)
    assert list(tmp_path.iterdir()) == []


curves = st.lists(
    st.lists(
        st.tuples(st.floats(0.01, 1e5), st.floats(-1e4, 1e4, allow_subnormal=False)), min_size=1, max_size=8, unique_by=lambda p: p[0]
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30)
@given(curves, st.booleans())
def test_a_plot_is_well_formed_and_every_point_lies_in_its_frame(tmp_path_factory: pytest.TempPathFactory, points, log_x: bool):
    lines = [Line(f"<{n}> & co", *(list(axis) for axis in zip(*sorted(line), strict=True))) for n, line in enumerate(points)]
    file = tmp_path_factory.mktemp("plot") / "p.svg"
    plot(file, "a < b", "x", "y", lines, log_x=log_x)
    tree = ElementTree.parse(file)
    drawn = list(tree.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(drawn) == sum(map(len, points))
    assert all(59.9 <= float(c.get("cx", "")) <= 450.1 and 33.9 <= float(c.get("cy", "")) <= 352.1 for c in drawn)


@pytest.mark.slow
def test_snapshots_on_the_way_do_not_change_the_base_and_a_stopped_training_goes_on(tmp_path: Path):
    from benchmarks.lab.bases import base, snapshot
    from models.nano.architecture import save
    from storage.checkpoints import folder_digest
    from tasks.nano.roles.solver import Recipe, train_solver

    recipe = Recipe(vocab_size=400, pretrain_chains=200, samples=96, batch=16)
    whole = base(tmp_path, 7, recipe, marks=(2, 4))
    save(*train_solver(7, tmp_path / "plain-work", 100, recipe), tmp_path / "plain")
    assert folder_digest(whole) == folder_digest(tmp_path / "plain")
    two, four = (folder_digest(snapshot(tmp_path, 7, mark)) for mark in (2, 4))
    assert len({two, four, folder_digest(whole)}) == 3


@pytest.mark.slow
def test_a_small_experiment_runs_from_a_base_to_tables_and_curves_and_again_without_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from benchmarks.lab import step_dpo
    from benchmarks.lab.training import ARMS
    from models.nano import nano_path

    for seed in (0, 1):
        shutil.copytree(nano_path("solver"), tmp_path / "bases" / str(seed) / "model")
    size = step_dpo.Size(problems=30, skip=0, pairs=6, held_out=2, test=6, validation=4, draws=2, rates=(1e-4,))
    arms = [arm for arm in ARMS if arm.name in ("SFT on winning steps", "DPO", "Step-DPO, reworded winners")]
    trained: list[int] = []
    tables: list[list[str]] = []
    for _ in range(2):
        step_dpo.run(tmp_path, [0, 1], tmp_path / "plots", size, arms)
        out = capsys.readouterr().out
        trained.append(out.count(": training "))
        tables.append([line for line in out.splitlines() if line.startswith("|")])
    assert trained == [6, 0]
    assert tables[0] == tables[1]
    assert [row.split(" | ")[0] for row in tables[0] if "(" in row][:4] == ["| SFT base", *(f"| {arm.name}" for arm in arms)]
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {"2026-11-20-step-dpo-accuracy.svg", "2026-11-20-step-dpo-margin.svg"}
    pairs = step_dpo.Experiment(tmp_path, size).pairs(0)
    assert len({p.problem_id for p in pairs.train + pairs.held_out}) == 8
    assert [p.id for p in pairs.reworded] == [p.id for p in pairs.train]
    assert all(
        ours.chosen != theirs.chosen and ours.rejected == theirs.rejected for ours, theirs in zip(pairs.train, pairs.reworded, strict=True)
    )
