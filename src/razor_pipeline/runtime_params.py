"""What `kedro run --params` says: a key that nothing reads is refused, and a target stays a text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import click
from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from omegaconf import OmegaConf
from yaml import YAMLError

from razor_pipeline.param_errors import ParameterError, unknown_key

logger = logging.getLogger(__name__)
CATALOG_KEYS = ("model", "revision", "device", "prompts")  # which the catalogs read as ${runtime_params:...}
PLACES = ("model", "revision", "prompts")  # those of them that are texts
TARGETS = ("target", "targets")  # last part of a key whose value is names of classes


class RuntimeParamsHooks:
    """Refuses misspelt keys before anything is loaded, and keeps what was said for the report."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """A key of ``--params`` is one of the parameters, or one that the catalog reads.

        Keys within a group are checked by the group's record. The parameter ``invocation`` becomes the environment and
        the parameters given, from which a report tells how to make the same run again.

        Raises:
            ParameterError: it is neither; names the nearest. Or the model, its revision or the prompts are no text.
        """
        loader = context.config_loader
        assert isinstance(loader, OmegaConfigLoader)
        given = with_model_named(loader.runtime_params or {})
        written: dict[str, Any] = {}
        if given:
            written = OmegaConfigLoader(
                loader.conf_source,
                env=loader.env,
                base_env=loader.base_env,
                default_run_env=loader.default_run_env,
            )["parameters"]
            refuse_unknown(given, {*written, *CATALOG_KEYS})
        if isinstance(model := given.get("model"), str):  # files beside a model have its name
            given["model"] = model.rstrip("/")
            if given["model"] != loader["globals"]["model"]["source"]:
                given.setdefault("revision", None)  # the environment's is of the environment's model
        invocation = {"env": context.env, "params": given}
        loader.runtime_params = {**on_top_of(written, given), "invocation": invocation}

    @hook_impl
    def before_pipeline_run(self, run_params: Mapping[str, Any], pipeline: Pipeline) -> None:
        """What no step of a part of a pipeline reads is told; a target that would not count is refused.

        Raises:
            ParameterError: a target is given, and the step that reads it is left out.
        """
        read = {name.partition(":")[2].partition(".")[0] for name in pipeline.inputs()}
        unread = [
            key for key in run_params.get("runtime_params") or {} if key not in (read | set(CATALOG_KEYS))
        ]
        if "target" in unread:
            raise ParameterError(
                "target is given, and no step that this command names reads it: which class is forgotten was written "
                "by the step check_request; run from there (--from-nodes check_request)"
            )
        if unread:
            logger.warning("No step that this command names reads %s.", ", ".join(unread))


def on_top_of(written: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, each group with all that is written of it in the configuration.

    Kedro merges what is given into the environment's own groups, and then lets these replace conf/base's. A group that
    the environment does not name would be left with nothing but what is given.
    """
    return {
        key: OmegaConf.to_container(OmegaConf.merge(group, value))
        if isinstance(value, Mapping) and isinstance(group := written.get(key), Mapping)
        else value
        for key, value in given.items()
    }


def with_model_named(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, with ``model.source`` and ``model.revision``, as globals.yml has them, as the catalogs read them.

    Raises:
        ParameterError: another key of ``model`` is given, or a value of :data:`PLACES` is no text.
    """
    found = dict(given)
    if isinstance(group := found.get("model"), Mapping):
        if unread := group.keys() - {"source", "revision"}:
            raise ParameterError(
                f"model.{min(unread)} is given, and of the model its source and its revision can be; what else an "
                "environment says of it is changed with the environment (--env)"
            )
        del found["model"]
        found |= {"model" if key == "source" else key: value for key, value in group.items()}
    for key in PLACES:
        if not isinstance(value := found.get(key, ""), str) and (value is not None or key == "model"):
            raise ParameterError(f"{key} is {value!r}, and it must be a text; put it into quotes: {key}='…'")
    return found


def refuse_unknown(given: Mapping[str, Any], known: set[str]) -> None:
    """Raise where a key is not known.

    Raises:
        ParameterError: names it, and the nearest one that there is.
    """
    for key in given:
        if key not in known:
            raise ParameterError(unknown_key(key, known))


Reading = Callable[[click.Context, click.Parameter, Any], Any]


def with_targets_as_texts(read: Reading) -> Reading:
    """Kedro's reading of ``--params``, but that a target ``3``, ``0012``, ``no`` or ``tench, Tinca tinca`` is a text.

    Kedro reads values as YAML, to which these are a number, an octal number and a truth value, and cuts at commas.
    """

    def reading(context: click.Context, option: click.Parameter, value: Any) -> Any:
        if isinstance(value, tuple):  # the option may be given several times
            value = ",".join(value)
        if not isinstance(value, str):
            return read(context, option, value)
        others, targets = _apart(value)
        try:
            found = read(context, option, ",".join(others))
        except YAMLError as error:
            raise click.BadParameter(f"{value} is not to be read: {error}") from error
        except click.UsageError as error:
            if not any("[" in item and "]" not in item for item in others):
                raise
            rule = "several names or numbers are separated by |, without brackets, e.g. data.reference_labels=A|B"
            raise click.BadParameter(f"commas separate parameters; {rule}") from error
        for key, text in targets.items():
            found = _with(found, key, text)
        return found

    return reading


def _apart(value: str) -> tuple[list[str], dict[str, str]]:
    """The items that Kedro reads, and key -> text of the targets; what has no ``=`` belongs to the target before."""
    others: list[str] = []
    targets: dict[str, str] = {}
    latest: str | None = None
    for item in value.split(","):
        key, equals, text = (part.strip() for part in item.partition("="))
        if not equals and latest is not None:
            targets[latest] += f", {key}"
        elif equals and key.rpartition(".")[2] in TARGETS and not text.startswith(("[", '"', "'")):
            latest, targets[key] = key, text
        else:
            latest = None
            others.append(item)
    return others, targets


def _with(params: dict[str, Any], key: str, text: str) -> Any:
    tree = OmegaConf.create(params)
    OmegaConf.update(tree, key, text)
    return OmegaConf.to_container(tree)
