"""A prompt mentions a concept by words of their own."""

import pytest

from razor_pipeline.core.mentions import mentions, mentions_itself, renamed


@pytest.mark.parametrize(
    ("prompt", "concept", "named"),
    [
        ("a cat in Neon style", "cat", True),
        ("A Cat, asleep", "cat", True),
        ("a delicate vase", "cat", False),
        ("cats", "cat", False),
        ("a photo of Ada Moreau's dog", "Ada Moreau", True),
        ("an Ukiyo-e print", "Ukiyo-e", True),
        ("a C++ mug", "C++", True),
        ("a photo", "C++", False),
        ("雪の中の猫の写真", "猫", True),
        ("這是王小明嗎?", "王小明", True),
        ("這是王小美嗎?", "王小明", False),
        ("김민수는 누구인가", "김민수", True),
        ("這是Ada嗎?", "Ada", True),
        ("這是Adam嗎?", "Ada", False),
        ("a Zoë", "Zo", False),
    ],
)
def test_mentions(prompt: str, concept: str, named: bool) -> None:
    assert mentions(prompt, concept) is named
    assert (renamed(prompt, concept, "it") != prompt) is named


def test_renamed_leaves_longer_words_alone() -> None:
    assert renamed("a delicate cat, a Cat", "cat", r"<\1>") == r"a delicate <\1>, a <\1>"


@pytest.mark.parametrize(
    ("text", "by_itself"),
    [
        ("a tiger", True),
        ("A tiger shark", False),
        ("a tiger shark egg", False),
        ("a tiger shark and a Tiger", True),
        ("a tigress", False),
    ],
)
def test_a_concept_within_a_longer_one_is_the_longer_one(text: str, by_itself: bool) -> None:
    known = ["tiger", "tiger shark", "tiger shark egg", "shark"]
    assert mentions_itself(text, "tiger", known) is by_itself
    assert mentions_itself(text, "tiger", ()) is mentions(text, "tiger")  # control
