"""parameters, sound_images -> manifest, quarantine."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.dataset_preparation.nodes import prepare_manifest


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                prepare_manifest,
                ["params:data", "params:atelier", "sound_images"],
                ["manifest", "quarantine"],
                name="prepare_manifest",
            )
        ]
    )
