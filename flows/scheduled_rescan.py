"""The rescan as a Prefect flow: every night, and whenever protected texts are published (prefect.yaml)."""

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.states import Completed, Failed, State

from flows.graph import UsageError
from flows.places import catalog_url, store_root
from flows.rescan import protected_of
from flows.rescan import rescan as rescan_store
from storage.store import Store
from tasks.contamination import ContaminationConfig


@flow
def rescan(rule: ContaminationConfig = ContaminationConfig(), against: str = "", store: str = "") -> State[None]:
    """Check all training versions against protected texts; fails where any is affected, naming versions and checkpoints.

    Args:
        rule: When a text counts as a repetition.
        against: Folder of benchmark files; empty for the datasets of protected texts in the store.
        store: Folder of the datasets; empty for the worker's.
    """
    log = get_run_logger()
    with Store.open(store_root(store), catalog_url()) as opened:
        try:
            protected = protected_of(opened, Path(against) if against else None)
        except UsageError as error:  # a store that protects nothing is no failure every night
            return Completed(name="Nothing", message=str(error))
        found = rescan_store(opened, protected, rule, say=log.info)
    for row in found.rows():
        log.warning("affected: %s", row)
    ended = Failed if found.affected else Completed
    return ended(name="Affected" if found.affected else "Clean", message=found.summary())
