"""The outputs of all steps -> figures, summary, report."""

from kedro.pipeline import Node, Pipeline

from razor_pipeline.pipelines.reporting.nodes import draw_figures, summarise, write_report

FRAMES = ("metrics", "component_scores", "edit_trace", "edit_report", "predictions", "samples")
RECORD = {
    **{name: name for name in FRAMES},
    "weight_edit": "weight_edit",
    "quantization": "quantization_report",
    "reporting": "params:reporting",
    "scenario": "params:scenario",
    "seed": "params:seed",
}


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            Node(
                draw_figures,
                ["component_scores", "edit_trace", "edit_report", "predictions", "samples", "params:razor"],
                ["score_heatmap", "search_curve", "panel"],
                name="draw_figures",
            ),
            Node(summarise, RECORD, "summary", name="summarise"),
            Node(
                write_report,
                {**RECORD, "razor": "params:razor", "parameters": "parameters"},
                "report",
                name="write_report",
            ),
        ]
    )
