"""Names that survive ComfyUI's prompt parser and every file system."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textual_inversion.embeddings_io.names import (
    EmbeddingError,
    check_name,
    reads_as_number,
    safe_name,
    without_extension,
)

GOOD = ["a", "my-cat", "my_cat", "style/cat", "v1.2", "2024-cat", "A/B/c.d_e-f", "x" * 100, "null"]
BAD = {
    "": "is empty",
    "  ": "is empty",
    "my cat": "' '",
    "cät": "'ä'",
    "a,b": "','",
    "a:b": "':'",
    "(a)": r"'\(' '\)'",
    "a\\b": "use letters",
    "a<b": "'<'",
    "a\n": "use letters",
    "/a": "empty folder",
    "a/": "empty folder",
    "a//b": "empty folder",
    "../a": "starts or ends with '.'",
    "a/../b": "starts or ends with '.'",
    "a/.b": "starts or ends with '.'",
    "a.": "starts or ends with '.'",
    "con": "Windows reserves",
    "style/NUL.x": "Windows reserves",
    "com7": "Windows reserves",
    "x" * 101: "at most 100",
    "cat.safetensors": "leave the extension away",
    "cat.PT": "leave the extension away",
    "12": "weight",
    "1e5": "weight",
    "nan": "weight",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_names_pass(name: str) -> None:
    check_name(name)
    assert safe_name(name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(EmbeddingError, match=BAD[name]) as raised:
        check_name(name)
    message = str(raised.value)
    assert message.startswith("The embedding name '") and message.endswith(".")
    assert "\n" not in message and len(message) < 200


def test_folders_can_be_refused() -> None:
    with pytest.raises(EmbeddingError, match="has a '/'"):
        check_name("style/cat", subfolders=False)
    check_name("cat", subfolders=False)


@given(st.text(max_size=130))
def test_a_safe_name_is_always_allowed(text: str) -> None:
    check_name(safe_name(text))


@given(st.from_regex(r"[A-Za-z0-9_\-./]{1,110}", fullmatch=True))
def test_a_safe_name_of_near_names_is_allowed(text: str) -> None:
    check_name(safe_name(text))


@given(st.text(alphabet="ab1.-_/ce+ntu", max_size=20))
def test_an_allowed_name_is_no_weight_and_stays_in_its_folder(name: str) -> None:
    try:
        check_name(name)
    except EmbeddingError:
        return
    assert not reads_as_number(name)
    assert not re.search(r"(^|/)\.\.?(/|$)|^/|/$", name)


def test_safe_names_keep_what_they_can() -> None:
    assert safe_name("my cat (2).pt") == "my_cat_2"
    assert safe_name("sub dir\\b.safetensors") == "sub_dir/b"
    assert safe_name("猫") == "embedding"


def test_extensions_are_known() -> None:
    assert without_extension("a/b.c.safetensors") == "a/b.c"
    assert without_extension("ver1.2") == "ver1.2"
