"""The review queue in the Prefect UI: a flow run that pauses with a form for each reply that the locators left open."""

from prefect import flow, get_run_logger
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from flows.graph import UsageError
from flows.places import catalog_url, store_root
from flows.review import Answer, Question, Queue, answer, questions
from storage.store import Store


class FirstWrongStep(RunInput):
    """What the form asks."""

    first_wrong_step: int | None = Field(None, ge=1, description="Number of the first wrong step, from 1; empty: no step is wrong")
    unclear: bool = Field(False, description="It cannot be told")
    why: str = Field("", description="A remark, kept with the answer")


@flow(persist_result=False)
def review(recipe: str = "step_dpo", name: str = "", store: str = "", limit: int = 20, patience_s: int = 86_400) -> int:
    """Ask a person about replies whose first wrong step the locators left open; the recipe's next run takes the answers in.

    Args:
        recipe: The recipe whose queue it is.
        name: Prefix of the datasets' names in place of the recipe's.
        store: Folder of the datasets; empty for the worker's.
        limit: Replies to ask about at most.
        patience_s: Seconds that each form waits; then the run ends as failed, and what was answered stays.
    """
    queue = Queue.of(recipe, name or None)
    with Store.open(store_root(store), catalog_url()) as opened:
        waiting = questions(opened, queue)[:limit]
        for number, question in enumerate(waiting, 1):
            _ask(opened, queue, question, f"Reply {number} of {len(waiting)}", patience_s)
        get_run_logger().info("%d replies were answered, %d wait", len(waiting), len(questions(opened, queue)))
    return len(waiting)


def _ask(store: Store, queue: Queue, question: Question, title: str, patience_s: int) -> None:
    """One form; it comes again, with what was wrong, until its answer fits the reply."""
    said = ""
    while True:
        form = FirstWrongStep.with_initial_data(description=f"{said}{shown(question, title)}")
        given = pause_flow_run(wait_for_input=form, timeout=patience_s, poll_interval=2)
        try:
            step = None if given.unclear else given.first_wrong_step
            answer(store, queue, {question.rollout.id: Answer(step, given.unclear, given.why)})
            return
        except UsageError as error:
            said = f"**{error}**\n\n"


def shown(question: Question, title: str) -> str:
    """The question as Markdown; texts stand in code blocks, where nothing in them is markup."""
    steps = "\n".join(f"{i}| {step.strip()}" for i, step in enumerate(question.steps, 1))
    parts = [f"## {title}: which step is the first wrong one?", f"{question.reason}: {question.votes}"]
    parts += [f"### {name}\n\n{_fenced(text)}" for name, text in (("Problem", question.problem.problem), ("Steps", steps))]
    return "\n\n".join([*parts, f"Right answer: {_fenced(question.problem.answer or '')}"])


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
