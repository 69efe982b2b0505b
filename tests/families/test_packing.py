"""Packing: what is asked beside a question changes nothing of its answer's probability."""

from __future__ import annotations

import pytest
import torch

from razor_pipeline.atelier.questions import Question
from razor_pipeline.families import packing
from razor_pipeline.families.packing import Asked, pack

from .cases import CASES

VLM = next(case for case in CASES if case.name == "vlm")


@pytest.fixture(scope="module")
def model():
    return VLM.build()


@pytest.fixture(scope="module")
def batch(model):
    return model.batches(VLM.samples("edit"), 4)[0]


def alone(model, batch, row, question, answer):
    """Log-probability of an answer from a plain forward pass over its own prompt."""
    asked = model.chat.asked(question, (answer,))
    tokens = [*batch.prefixes[row], *asked.question, *asked.answers[0]]
    with torch.no_grad():
        logits = model.module(
            input_ids=torch.tensor([tokens]), pixel_values=batch.images["pixel_values"][row : row + 1]
        ).logits[0]
    length = len(asked.answers[0])
    log_p = logits[-length - 1 : -1].log_softmax(-1)
    return float(log_p.gather(1, torch.tensor(asked.answers[0])[:, None]).sum())


def packed_log_p(model, batch):
    questions = [
        (
            Question("name", "Who is this?", "Ada Moreau"),
            Question("hat", "Describe the hat.", "a red cap"),
        )
    ] * len(batch)
    with torch.no_grad():
        return model._answer_log_p(batch, model._packed(batch, questions)).view(len(batch), 2)


def test_packed_questions_have_the_probability_that_each_has_alone(model, batch):
    found = packed_log_p(model, batch)
    for row in (0, 3):
        wanted = [
            alone(model, batch, row, "Who is this?", "Ada Moreau"),
            alone(model, batch, row, "Describe the hat.", "a red cap"),
        ]
        assert found[row].tolist() == pytest.approx(wanted, abs=1e-4)


def test_without_the_mask_they_would_not(model, batch, monkeypatch):
    """Control: a mask that lets everybody see all that came before."""
    before = packed_log_p(model, batch)

    def causal(question_BT, answer_BT):
        width = question_BT.shape[1]
        return torch.ones(len(question_BT), 1, width, width, dtype=torch.bool).tril()

    monkeypatch.setattr(packing, "_mask", causal)
    after = packed_log_p(model, batch)
    torch.testing.assert_close(after[:, 0], before[:, 0])  # the first question has nothing beside it
    assert not torch.allclose(after[:, 1], before[:, 1], atol=1e-3)


def test_answers_to_one_question_do_not_see_each_other(model, batch):
    names = ["Ada Moreau", "Greta Novak", "unknown"]
    with torch.no_grad():
        together = model.class_logits(batch, names)
        apart = torch.cat([model.class_logits(batch, [name]) for name in names], dim=1)
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=0)


def test_positions_go_on_from_image_to_question_to_answer():
    packed = pack([(7, 8)], [[Asked((1, 2), ((3, 4), (5,))), Asked((6,), ((9,),))]])
    assert packed.input_ids_BT.tolist() == [[7, 8, 1, 2, 3, 6]]  # an answer's last token predicts nothing
    assert packed.position_ids_BT.tolist() == [[0, 1, 2, 3, 4, 2]]
    assert packed.source_K.tolist() == [3, 4, 3, 5]
    assert packed.token_K.tolist() == [3, 4, 5, 9]
    assert packed.per_answer(torch.ones(4)).tolist() == [2.0, 1.0, 1.0]
