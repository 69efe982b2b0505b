"""A prompt mentions a concept by words of their own."""

import pytest

from razor_pipeline.core.mentions import mentions, renamed


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
