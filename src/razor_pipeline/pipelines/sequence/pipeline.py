"""base_model + manifest + judges -> sequence_rows, sequence_figure, sequence_text."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.sequence.nodes import forget_one_after_the_other


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                forget_one_after_the_other,
                [
                    "base_model",
                    "manifest",
                    "judges",
                    "evaluation_prompts",
                    "params:splitting",
                    "params:razor",
                    "params:evaluation",
                    "params:sequence",
                ],
                ["sequence_rows", "sequence_figure", "sequence_text"],
                name="forget_one_after_the_other",
            )
        ]
    )
