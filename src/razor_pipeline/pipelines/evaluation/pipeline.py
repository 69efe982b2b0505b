"""base_model + weight_edit + quantized_models + judges -> metrics, predictions."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.evaluation.nodes import evaluate_models


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                evaluate_models,
                [
                    "base_model",
                    "weight_edit",
                    "quantized_models",
                    "samples",
                    "judges",
                    "evaluation_prompts",
                    "params:evaluation",
                ],
                ["metrics", "predictions"],
                name="evaluate_models",
            )
        ]
    )
