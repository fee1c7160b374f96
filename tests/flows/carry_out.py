"""A recipe carried out in a process of its own, without Prefect: what tests start when they mean to kill it.

python -m tests.flows.carry_out RECIPE STORE [STAGE.FIELD=VALUE ...]      prints {dataset: calls paid for} as JSON
"""

import json
import sys

from flows.config import load_config, load_recipe
from flows.make import Make, Silent, in_threads
from flows.session import Session
from storage.store import Store


def main(recipe: str, folder: str, *sets: str) -> None:
    with Store.open(folder) as store:
        session = Session(store, load_config(recipe, sets=sets))
        make = Make(session, in_threads(2), {}, Silent())
        try:
            load_recipe(recipe)(make)
        finally:
            session.close()
        print(json.dumps({line.dataset: line.calls for line in make.finish()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
