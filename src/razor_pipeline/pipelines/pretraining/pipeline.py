"""manifest -> base_model, pretraining_report, learning_curve."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.pretraining.nodes import train_model


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                train_model,
                ["manifest", "params:pretraining"],
                ["base_model", "pretraining_report", "learning_curve"],
                name="train_model",
            )
        ]
    )
