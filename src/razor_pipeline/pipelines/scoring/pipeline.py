"""base_model + samples + judges -> anchors, component_scores, component_gradients."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.scoring.nodes import choose_anchors, score_components


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                choose_anchors,
                ["base_model", "samples", "judges", "params:razor", "params:evaluation"],
                "anchors",
                name="choose_anchors",
            ),
            Node(
                score_components,
                ["base_model", "samples", "anchors", "params:razor", "params:seed"],
                ["component_scores", "component_gradients", "scoring_report"],
                name="score_components",
            ),
        ]
    )
