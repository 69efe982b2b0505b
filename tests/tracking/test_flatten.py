"""Flat names and finite numbers."""

import math

import pytest
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_metric_name

from razor_pipeline.params.data import AtelierParams
from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.tracking.flatten import LONGEST, flatten, numbers


def test_records_are_flattened_with_their_defaults():
    flat = flatten({"atelier": AtelierParams(seed=5), "target": "Ada Moreau", "seeds": [0, 1]})
    assert flat["atelier.seed"] == "5"
    assert flat["atelier.portraits.edit"] == "60"
    assert flat["target"] == "Ada Moreau"
    assert flat["seeds"] == "[0, 1]"


def test_a_long_value_keeps_its_hash():
    one, other = (flatten({"a": "x" * LONGEST + end})["a"] for end in "12")
    assert len(one) == len(other) == LONGEST
    assert one != other


def test_an_empty_group_is_kept():
    assert flatten({"data": {}}) == {"data": "{}"}


def test_only_finite_numbers_are_metrics():
    values = {"a": 1, "b": True, "c": math.nan, "d": "1", "e": {"f": 0.5, "g": math.inf}}
    assert numbers(values) == {"a": 1.0, "e.f": 0.5}


def test_a_metric_has_a_name_that_mlflow_takes():
    found = numbers({"zero_shot": {"photos (2020), a/b_label": 0.5}})
    assert found == {"zero_shot.photos _2020__ a/b_label": 0.5}
    for name in found:
        _validate_metric_name(name)
    with pytest.raises(MlflowException):
        _validate_metric_name("zero_shot.photos (2020), a/b_label")  # control


def test_names_hold_no_character_that_is_refused_in_a_name():
    assert flatten({"a": {"lambda=0": {"b": 1}, "O'Neil/2": 2, "größer: 1-2.5": 3}}) == {
        "a.lambda_0.b": "1",
        "a.O_Neil_2": "2",
        "a.größer: 1-2.5": "3",
    }


def test_no_password_is_a_parameter():
    address = "postgresql+psycopg://razor:{}@127.0.0.1:5432/razor"
    flat = flatten(
        {"requests": RequestsParams(ledger=address.format("hunter2")), "list": [address.format("hunter2")]}
    )
    assert flat["requests.ledger"] == address.format("***")
    assert "hunter2" not in str(flat)
    for plain in ("http://127.0.0.1:5000", "sqlite:///a:b@c.db", address.replace(":{}", ""), "id@revision"):
        assert flatten({"a": plain}) == {"a": plain}  # control
