"""base_model + samples -> component_scores, component_gradients."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.scoring.nodes import score_components


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                score_components,
                ["base_model", "samples", "params:razor", "params:seed"],
                ["component_scores", "component_gradients", "scoring_report"],
                name="score_components",
            )
        ]
    )
