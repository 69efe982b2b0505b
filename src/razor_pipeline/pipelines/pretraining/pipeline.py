"""manifest -> pretraining_report, base_model, learning_curve."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.pretraining.nodes import train_model


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                train_model,
                ["manifest", "params:pretraining"],
                # The report first: a model without one was not trained here, and is not written over.
                ["pretraining_report", "base_model", "learning_curve"],
                name="train_model",
            )
        ]
    )
