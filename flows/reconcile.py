"""Start the trainings that a lost event did not: compare the training sets in the catalog with what was trained on.

Prefect's event queue drops messages when it is full; the catalog does not. Failed trainings are not repeated: that is a decision.
"""

from typing import Any

from prefect import flow, get_run_logger
from prefect.deployments import run_deployment

from flows.places import catalog_url, store_root
from storage.schemas import Example
from storage.store import Store
from storage.versions import Version

TRAINING = "train"


def untrained(store: Store) -> list[Version]:
    """The latest version of each set of examples where the recipe `train` has not trained on these rows; preference pairs are not its."""
    done = set()
    for head in store.heads():
        if head.meta.get("recipe") == TRAINING:
            for version in store.versions(head.dataset):
                done |= {store.resolve(f"{name}@{n}").digest for name, n in version.inputs.values()}
    return [head for head in store.heads() if head.row_type == Example.__name__ and head.digest not in done]


@flow
def reconcile(store: str = "") -> list[str]:
    """Start a training for every training set whose latest version has none.

    Args:
        store: Folder of the datasets; empty for the worker's.
    """
    started = []
    with Store.open(store_root(store), catalog_url()) as opened:
        for version in untrained(opened):
            parameters: dict[str, Any] = {"inputs": {"examples": version.spec}, **({"store": store} if store else {})}
            run_deployment(f"{TRAINING}/{TRAINING}", parameters=parameters, timeout=0, idempotency_key=version.spec, as_subflow=False)
            get_run_logger().info("training on %s", version.spec)
            started.append(version.spec)
    return started
