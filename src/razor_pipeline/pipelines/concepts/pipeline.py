"""base_model + manifest + retrained_models + judges -> concepts_rows, concepts_table."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.concepts.nodes import erase_concepts


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                erase_concepts,
                [
                    "base_model",
                    "manifest",
                    "retrained_models",
                    "judges",
                    "evaluation_prompts",
                    "params:splitting",
                    "params:razor",
                    "params:evaluation",
                    "params:concepts",
                ],
                ["concepts_rows", "concepts_table", "concepts_text"],
                name="erase_concepts",
            )
        ]
    )
