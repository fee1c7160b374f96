"""Ids are unique in a dataset, over all its rounds."""


def imported(factory) -> list[str]:
    return sorted(row["source_id"] for row in factory.table("solve.import_problems"))


def bring_in(factory, numbers, number):
    factory.write(numbers)
    return factory.run(round_=number, scope=f"round={number}/")


def test_what_another_round_holds_is_rejected_as_a_duplicate(factory):
    bring_in(factory, range(6), 0)
    lines = bring_in(factory, range(3, 9), 1)
    assert imported(factory) == [f"p{i}" for i in range(9)]
    assert dict(lines[0].version.balance.rejected) == {"duplicate": 3}
    assert len(factory.table("solve.solve")) == 18


def test_an_older_round_that_is_imported_again_leaves_a_newer_one_alone(factory):
    bring_in(factory, range(3), 0)
    bring_in(factory, range(3, 6), 1)
    bring_in(factory, range(5), 0)
    assert imported(factory) == [f"p{i}" for i in range(6)]


def test_importing_a_round_again_after_a_backfill_changes_no_row_and_asks_nothing(factory):
    bring_in(factory, range(3), 0)
    bring_in(factory, range(3, 6), 1)
    before = factory.digests()
    factory.calls()
    bring_in(factory, range(3), 0)
    assert factory.digests() == before and factory.calls() == 0
