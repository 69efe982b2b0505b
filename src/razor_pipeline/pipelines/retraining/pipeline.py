"""manifest, retraining_reports -> retrained_models."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.retraining.nodes import retrain_models


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                retrain_models,
                ["manifest", "params:pretraining", "params:retraining", "retraining_reports"],
                "retrained_models",
                name="retrain_models",
            )
        ]
    )
