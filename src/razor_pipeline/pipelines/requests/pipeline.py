"""base_model + manifest + the ledger -> request_versions, requests_dashboard."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.dataset_preparation import create_pipeline as dataset_preparation
from razor_pipeline.pipelines.requests.nodes import run_requests


def create_pipeline(**_: object) -> Pipeline:
    run = Node(
        run_requests,
        [
            "base_model",
            "manifest",
            "judges",
            "params:requests",
            "params:data",
            "params:splitting",
            "params:razor",
            "params:quantization",
            "params:evaluation",
            "params:seed",
        ],
        ["request_versions", "requests_dashboard"],
        name="run_requests",
    )
    return dataset_preparation() + Pipeline([run])
