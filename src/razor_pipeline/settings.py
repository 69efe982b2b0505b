"""Project settings; see https://docs.kedro.org/en/stable/kedro_project_setup/settings.html."""

from kedro.config import OmegaConfigLoader

from razor_pipeline.hooks import AloneHooks, ClosingTableHooks, MlflowHooks, PlaceHooks, QuarantineHooks
from razor_pipeline.runtime_params import RuntimeParamsHooks

DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro-viz")  # nothing reports home, nothing slows a run down
# the last one is called first
HOOKS = (
    MlflowHooks(),
    QuarantineHooks(),
    ClosingTableHooks(),
    PlaceHooks(),
    AloneHooks(),
    RuntimeParamsHooks(),
)
CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*"]},
}
