"""What a mistyped name may have meant, also among thousands."""

from __future__ import annotations

import difflib
import random

from textual_inversion.embeddings_io.near_names import near_names


def test_the_nearest_comes_first_and_case_does_not_count() -> None:
    names = ["style/BadHand_v4", "badhands", "goodhand", "easynegative"]
    assert near_names("badhand_v4", names) == ["style/BadHand_v4", "badhands"]
    assert near_names("EASY_NEGATIVE", names, 1) == ["easynegative"]
    assert near_names("qqqq", names) == [] and near_names("x", []) == []


def test_the_beginning_of_a_name_is_enough() -> None:
    assert near_names("ea", ["easynegative", "cat"]) == ["easynegative"]
    assert near_names("e", ["easynegative", "cat"]) == []


def test_no_nearer_name_is_overlooked_among_thousands() -> None:
    """The quick sieve never loses the name that a full comparison finds nearest."""
    random.seed(1)
    parts = ["cat", "dog", "style", "paint", "ink", "neon", "v2", "xl", "bad", "hand", "_", "-"]
    names = sorted({"".join(random.choices(parts, k=4)) for _ in range(3000)})
    for name in random.sample(names, 40):
        place = random.randrange(len(name))
        wanted = name[:place] + "z" + name[place + 1 :]
        best = max(difflib.SequenceMatcher(None, name, wanted).ratio() for name in names)
        found = near_names(wanted, names)[0]
        assert difflib.SequenceMatcher(None, found, wanted).ratio() >= best - 0.02
