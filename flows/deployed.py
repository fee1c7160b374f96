"""Entrypoints of the deployments in prefect.yaml: `flows.deployed.NAME` is the recipe NAME as a Prefect flow, made when it is asked for."""

from typing import Any

from prefect.flows import Flow

from flows.config import recipe_names
from flows.crawl import crawl as crawl
from flows.reconcile import reconcile as reconcile
from flows.review_form import review as review
from flows.scheduled import flow_of
from flows.scheduled_rescan import rescan as rescan


def __getattr__(name: str) -> Flow[..., Any]:
    if name not in recipe_names():
        raise AttributeError(f"no flow {name!r}: have {[*recipe_names(), 'crawl', 'reconcile', 'rescan', 'review']}")
    return flow_of(name)
