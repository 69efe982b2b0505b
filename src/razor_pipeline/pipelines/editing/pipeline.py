"""base_model + scores -> weight_edit, edited_model."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.editing.nodes import edit_model, export_model


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                edit_model,
                [
                    "base_model",
                    "samples",
                    "component_scores",
                    "component_gradients",
                    "scoring_report",
                    "anchors",
                    "params:razor",
                    "params:seed",
                ],
                ["weight_edit", "edit_trace", "edit_report"],
                name="edit_model",
            ),
            Node(export_model, ["base_model", "weight_edit"], "edited_model", name="export_model"),
        ]
    )
