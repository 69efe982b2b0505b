"""base_model + manifest -> identities_rows, identities_table."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.identities.nodes import erase_identities


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                erase_identities,
                [
                    "base_model",
                    "manifest",
                    "retrained_models",
                    "params:splitting",
                    "params:razor",
                    "params:evaluation",
                    "params:identities",
                ],
                ["identities_rows", "identities_table", "identities_text"],
                name="erase_identities",
            )
        ]
    )
