"""base_model + weight_edit -> quantized_models, quantization_report."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.quantization.nodes import quantize_model


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                quantize_model,
                ["base_model", "weight_edit", "params:quantization"],
                ["quantized_models", "quantization_report"],
                name="quantize_model",
            )
        ]
    )
