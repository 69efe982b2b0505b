"""Parameters: ranges, unknown keys and types are refused with the name; records never change."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from operator import attrgetter

import pytest
from pydantic import BaseModel, ValidationError

from razor_pipeline import params
from razor_pipeline.param_errors import ParameterError
from razor_pipeline.params.base import Params
from razor_pipeline.params.data import AtelierParams, DataParams, SplitCounts
from razor_pipeline.params.evaluation import QuantizationParams, ReportingParams
from razor_pipeline.params.peers import PeersParams
from razor_pipeline.params.razor import RazorParams, SearchParams
from razor_pipeline.params.requests import GateParams
from razor_pipeline.params.studies import BenchmarkParams, BenchParams, StudyParams

MODULES = [
    importlib.import_module(f"{params.__name__}.{found.name}")
    for found in pkgutil.iter_modules(params.__path__)
]
RECORDS = [
    record
    for module in MODULES
    for _, record in inspect.getmembers(module, inspect.isclass)
    if issubclass(record, BaseModel) and record.__module__ == module.__name__ and record is not Params
]

OUT_OF_RANGE = [
    ({"scoring": {"alpha": 1.01}}, "alpha"),
    ({"scoring": {"alpha": -0.01}}, "alpha"),
    ({"scoring": {"eps": 0.0}}, "eps"),
    ({"scoring": {"batch_size": 0}}, "batch_size"),
    ({"scoring": {"granularity": "layer"}}, "granularity"),
    ({"objective": {"rho": 0.0}}, "rho"),
    ({"objective": {"rho": 1.1}}, "rho"),
    ({"objective": {"lambda_m": -1.0}}, "lambda_m"),
    ({"components": 0}, "components"),
    ({"max_edited_share": 0.0}, "max_edited_share"),
    ({"max_edited_share": 1.1}, "max_edited_share"),
    ({"max_rounds": 0}, "max_rounds"),
    ({"max_rounds": 7}, "max_rounds"),
    ({"tau": "high"}, "tau"),
    ({"search": {"evaluations": 13}}, "evaluations"),
    ({"search": {"evaluations": 1}}, "evaluations"),
    ({"search": {"goal": 1.5}}, "goal"),
    ({"search": {"first_step": 0.0}}, "first_step"),
]


def test_a_method_that_would_edit_nothing_is_refused():
    neither = {"search": {"evaluations": 0}, "repair": {"steps": 0}}
    with pytest.raises(ParameterError, match="both 0, so nothing would be edited"):
        RazorParams.model_validate(neither)
    for key, one in neither.items():  # control: each alone is fine
        RazorParams.model_validate({key: one})


@pytest.mark.parametrize(
    ("record", "given", "sentence"),
    [
        (QuantizationParams, "int4", "it should be a group of keys (schemes), and is 'int4'"),
        (QuantizationParams, None, "it should be a group of keys (schemes), and is None"),
        (
            RazorParams,
            {"search": {"goal": 0.5}, "scoring": 3},
            "scoring should be a group of keys (granularity, ",
        ),
    ],
)
def test_a_value_in_the_place_of_a_group_is_told_the_group_s_keys(record, given, sentence):
    """Of ``quantization=int4`` pydantic says "a valid dictionary or instance of QuantizationParams"."""
    with pytest.raises(ParameterError, match=f"^{re.escape(sentence)}"):
        record.model_validate(given)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_record_has_valid_defaults(record):
    """Validated again, because pydantic takes defaults unseen."""
    made = record()
    assert record.model_validate(made.model_dump()) == made


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_an_unknown_key_is_refused_by_name(record):
    with pytest.raises(ValidationError, match=r"lerning_rate\n.*Extra inputs are not permitted"):
        record(**{**record().model_dump(), "lerning_rate": 1.0})


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_record_never_changes(record):
    made = record()
    name = next(iter(record.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, getattr(made, name))


@pytest.mark.parametrize(("given", "named"), OUT_OF_RANGE, ids=lambda x: x if isinstance(x, str) else "")
def test_a_value_out_of_range_is_refused_by_name(given, named):
    with pytest.raises(
        ParameterError, match=rf"(^|\.){named} is .*, but it should|'(.*\.)?{named}' is no parameter"
    ):
        RazorParams.model_validate(given)


@pytest.mark.parametrize(
    "given",
    [
        {"scoring": {"alpha": 0.0}},
        {"scoring": {"alpha": 1.0}},
        {"objective": {"rho": 1.0}},
        {"max_edited_share": 1.0},
        {"max_rounds": 1},
        {"max_rounds": 6},
        {"tau": None},
        {"search": {"evaluations": 12}},
    ],
)
def test_the_ends_of_the_ranges_are_inside(given):
    """Control of the test above."""
    RazorParams.model_validate(given)


@pytest.mark.parametrize("record", [GateParams, ReportingParams], ids=lambda record: record.__name__)
def test_a_limit_that_the_unedited_model_would_meet_is_refused(record):
    with pytest.raises(ParameterError, match=r"max_forget_accuracy is 1\.0, but it should be less than 1"):
        record.model_validate({"max_forget_accuracy": 1.0})
    record.model_validate({"max_forget_accuracy": 0.99})  # control


def test_pictures_of_the_atelier_are_whole_tiles():
    with pytest.raises(ParameterError, match="image_size is 100, but it should be a multiple of 8"):
        AtelierParams.model_validate({"image_size": 100})
    assert AtelierParams.model_validate({"image_size": 104}).image_size == 104


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["tau", "damping", "max_retain_drop"])
def test_nan_and_infinity_are_refused(name, bad):
    """A threshold of NaN would let every component pass, silently."""
    with pytest.raises(ValidationError, match=rf"{name}\n.*finite number"):
        RazorParams(**{name: bad})


@pytest.mark.parametrize(
    ("group", "given", "sentence"),
    [
        (
            RazorParams,
            {"objective": {"lambda_r1": 1.0}},
            "'objective.lambda_r1' is no parameter; did you mean",
        ),
        (
            RazorParams,
            {"harden": {"roundz": 1}},
            "'harden.roundz' is no parameter; did you mean 'harden.rounds'?",
        ),
        (
            RazorParams,
            {"repair": {"resist": {"strenght": 1.0}}},
            "'repair.resist.strenght' is no parameter; did you mean 'repair.resist.strength'?",
        ),
        (
            BenchParams,
            {"targets": ["Ada"], "sizes": {"own": {"model": "clip_b32", "captionz": "class"}}},
            "'sizes.own.captionz' is no parameter; did you mean 'sizes.own.captions'?",
        ),
    ],
)
def test_a_misspelt_key_deep_inside_is_named_with_its_path(group, given, sentence):
    """Also within what may be null, and under a name that is given."""
    with pytest.raises(ParameterError, match=re.escape(sentence)):
        group.model_validate(given)


def test_a_nested_default_is_not_shared_state():
    assert RazorParams() == RazorParams(search=SearchParams())
    assert RazorParams(search=SearchParams(goal=0.6)) != RazorParams()


@pytest.mark.parametrize(
    ("group", "given", "path", "kept"),
    [
        (AtelierParams, {"portraits": {"test": 200}}, "portraits.edit", 60),
        (BenchmarkParams, {"peers": {"ft": {"epochs": 3}}}, "peers.ft.objective", "ft"),
        (BenchParams, {"slug": {"scoring": {"retain_samples": 8}}}, "slug.layers", 1),
        (BenchParams, {"slug": {"scoring": {"retain_samples": 8}}}, "slug.scoring.nearest", 0),
    ],
)
def test_a_group_given_in_part_keeps_the_rest_of_its_fields_default(group, given, path, kept):
    """Not of its record's: a fine-tuning without an objective is a GAFT."""
    found = group.model_validate(given)
    assert found != group()
    assert attrgetter(path)(found) == attrgetter(path)(group()) == kept


@pytest.mark.parametrize("source", ["folder", "manifest", "datasets"])
def test_a_source_on_disk_needs_a_path(source):
    with pytest.raises(ValidationError, match=rf"data.source is '{source}', which needs data.path"):
        DataParams(source=source)
    assert DataParams(source=source, path="images").path == "images"


def test_the_shares_of_a_split_leave_something_to_edit_with():
    with pytest.raises(ValidationError, match="must stay below 1"):
        DataParams(validation_share=0.5, test_share=0.5)
    DataParams(validation_share=0.5, test_share=0.49)


def test_counts_and_sizes_of_the_atelier():
    with pytest.raises(ValidationError, match="edit"):
        SplitCounts(edit=-1)
    with pytest.raises(ValidationError, match="image_size"):
        AtelierParams(image_size=16)


@pytest.mark.parametrize("given", ["Ada Moreau|Bo Lind", "Ada Moreau | Bo Lind", ["Ada Moreau", "Bo Lind"]])
def test_names_of_a_study_may_be_given_in_one_text(given):
    assert StudyParams.model_validate({"targets": given}).targets == ("Ada Moreau", "Bo Lind")


def test_methods_of_a_benchmark_may_be_given_in_one_text():
    assert BenchmarkParams.model_validate({"methods": "razor|ssd"}).methods == ("razor", "ssd")
    with pytest.raises(ParameterError, match=r"methods\.1 is 'sd', but it must be one of razor, ft, "):
        BenchmarkParams.model_validate({"methods": "razor|sd"})
    every = ("razor", *PeersParams.model_fields)  # a peer that has parameters can be named
    assert BenchmarkParams.model_validate({"methods": list(every)}).methods == every
