"""Models as a run finds them: checkpoints of the factory are engines like any other, and a replay asks none of them."""

import pytest

from flows.graph import Ref, UsageError, bind
from flows.make import Make, Silent, in_threads
from models.engine import EngineError, MissingCall
from models.nano import nano_path
from storage.schemas import Checkpoint
from tasks.import_problems import import_problems
from tasks.solve import solve
from tasks.stage import stage


@stage(scope="dataset", revision=1)
def trained() -> Checkpoint:
    """A checkpoint, as a training leaves one."""
    return Checkpoint("c", str(nano_path("solver")), "", "", "", "sft", 1, 1.0, 1.0)


def start(factory, store, **more) -> tuple[Make, Ref, Ref]:
    """A recipe under way: (make, its problems, its student)."""
    factory.write(range(2))
    make = Make(factory.session(store, **more), in_threads(1), {"problems": str(factory.input)}, Silent())
    return make, make(import_problems, records=make.input("problems")), make(trained, name="verify")  # a name with settings


def test_a_replay_does_not_ask_the_student_that_the_recipe_trained(factory):
    with factory.open() as store:
        make, problems, student = start(factory, store, replay=True)
        with pytest.raises(MissingCall, match=r"stage 'solve.solve': not in the ledger"):
            make(solve, problems, model=student)


@pytest.mark.parametrize("ref", ["ckpt:solve.verify", "replay:ckpt:solve.verify@1"])
def test_a_checkpoint_is_named_by_its_dataset(factory, ref):
    with factory.open() as store:
        _, problems, student = start(factory, store)
        session = factory.session(store, f"solve.model={ref}")
        named, given = bind(solve, [problems], None, None, {}), bind(solve, [problems], None, None, {"model": student})
        assert session.spec(named, "model").ref == ref.replace("ckpt:", "hf:").split("solve.")[0] + str(nano_path("solver"))
        assert session.identity(named, "model") == session.identity(given, "model")


def test_a_dataset_that_is_no_checkpoint_cannot_be_asked(factory):
    with factory.open() as store:
        _, problems, _ = start(factory, store)
        session = factory.session(store, "solve.model=ckpt:solve.import_problems")
        with pytest.raises(UsageError, match=r"solve\.import_problems@1 holds Problem rows and no checkpoint"):
            session.spec(bind(solve, [problems], None, None, {}), "model")


class Closing:
    """A backend of which only the end matters."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.closed = fails, False

    async def close(self) -> None:
        self.closed = True
        if self.fails:
            raise EngineError("would not stop")


def test_a_backend_that_fails_to_stop_keeps_no_other_running(factory):
    with factory.open() as store:
        session = factory.session(store)
        backends = [Closing(fails) for fails in (True, False, True)]
        session._backends.update({str(i): backend for i, backend in enumerate(backends)})
        with pytest.raises(EngineError, match="would not stop"):
            session.close()
        assert all(backend.closed for backend in backends)
