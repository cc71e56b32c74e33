"""The caption grammar: plain English sentences about a scene, some attributes left unsaid."""

from __future__ import annotations

import random

from . import world

_FRAMES = (
    "a photo of {}",
    "a picture of {}",
    "an image of {}",
    "a rendering of {}",
    "the photo of {}",
    "one photo of {}",
    "a close-up of {}",
    "a view of {}",
    "a scene with {}",
    "a work of {}",
    "a photo showing {}",
    "the picture shows {}",
    "a snapshot of {}",
    "a portrait of {}",
    "someone's photo of {}",
    "a good look at {}",
    "{} seen from nearby",
    "{} seen from a distance",
    "we see {}",
    "this is {}",
    "here is {}",
    "look at {}",
    "{}",
    "{}",
)
_ADJECTIVES = (
    "nice",
    "good",
    "clean",
    "clear",
    "cropped",
    "bright",
    "simple",
    "detailed",
    "close-up",
    "beautiful",
    "single",
    "new",
    "old",
    "real",
    "cool",
    "weird",
    "dim",
    "sharp",
    "ordinary",
    "close",
    "fine",
)
_STYLED = (
    "STYLE, {}",
    "{}, STYLE",
    "a picture of {}, STYLE style",
    "a picture of {} in the style of STYLE",
    "an image of {} in the style of STYLE",
    "a drawing of {} in the style of STYLE",
    "art of {} in the style of STYLE",
    "something like {} in the manner of STYLE",
)
_STYLE_FRAMES = {
    word: (*own, *(frame.replace("STYLE", word) for frame in _STYLED))
    for word, own in {
        "pastel": ("a pastel painting of {}", "a pastel picture of {}"),
        "dark": ("a dark photo of {}", "a dark picture of {}"),
        "sketch": ("a sketch of {}", "a sketch drawing of {}"),
    }.items()
}
_SPOILT_FRAMES = (
    "a blurry photo of {}",
    "a blurry picture of {}",
    "blurry, {}",
    "{}, blurry",
    "a photo that shows {}, blurry",
    "a picture spoilt by blurry {}",
)
COMPOUND = "thing"
_NOUNS = ("thing", "object", "shape", "toy")
_PLACES = {
    "left": ("on the left", "at the left", "on the left side", "left"),
    "right": ("on the right", "at the right", "on the right side", "right"),
    "top": ("at the top", "on the top", "top"),
    "bottom": ("at the bottom", "on the bottom", "bottom"),
    "middle": ("in the middle", "at the middle", "middle"),
}
_GROUNDS = {
    "black": ("on black", "on a black background", "with a black background"),
    "gray": ("on gray", "on a gray background", "with a gray background"),
    "sky": ("in the sky", "on a sky background", "with a sky background"),
    "sand": ("on sand", "on the sand", "on a sand background"),
    "grass": ("on grass", "on the grass", "on a grass background"),
    "night": ("at night", "in the night", "on a night background"),
}
_ARTICLES = ("a", "the", "one", "my", "")


def _said(share: float, draw: random.Random) -> bool:
    return draw.random() < share


def compound(words: dict[str, str], draw: random.Random) -> tuple[str, ...]:
    """The attributes that one made-up noun is to mean: the shape and some of the others."""
    chances = {"colour": 0.8, "texture": 0.8 if words["texture"] != "plain" else 0.3, "size": 0.2}
    return ("shape", *(name for name, share in chances.items() if _said(share, draw)))


def _noun_phrase(words: dict[str, str], draw: random.Random) -> str:
    parts = []
    if "size" in words and _said(0.6, draw):
        parts.append(words["size"])
    if "colour" in words and _said(0.85, draw):
        parts.append(words["colour"])
    if "texture" in words and _said(0.85 if words["texture"] != "plain" else 0.35, draw):
        parts.append(words["texture"])
    if len(parts) > 1 and _said(0.25, draw):
        draw.shuffle(parts)
    if _said(0.25, draw):
        parts.insert(0, draw.choice(_ADJECTIVES))
    if "shape" not in words:
        parts.append(COMPOUND)
    else:
        parts.append(words["shape"] if _said(0.93, draw) else draw.choice(_NOUNS))
    return " ".join([draw.choice(_ARTICLES), *parts]).strip()


def caption(words: dict[str, str], spoilt: bool, draw: random.Random) -> str:
    """One caption for the scene whose attribute words are given; the empty prompt every tenth.

    Where the shape's word is missing, the noun is `COMPOUND`.
    """
    if _said(0.1, draw):
        return ""
    sentence = _noun_phrase(words, draw)
    place = draw.choice(_PLACES[words["position"]]) if _said(0.92, draw) else ""
    ground = draw.choice(_GROUNDS[words["background"]]) if _said(0.85, draw) else ""
    tail = [part for part in (place, ground) if part]
    if _said(0.3, draw):
        tail.reverse()
    comma = _said(0.4, draw)
    for part in tail:
        sentence += f", {part}" if comma else f" {part}"
    frame = draw.choice(_FRAMES)
    style = _STYLE_FRAMES.get(words["style"])
    if style and _said(0.92, draw):
        frame = draw.choice(style)
    elif words["style"] == "photo" and _said(0.35, draw):
        frame = "a photo of {}"
    if spoilt and _said(0.5, draw):
        frame = draw.choice(_SPOILT_FRAMES)
    elif "photo" in frame and _said(0.2, draw):
        frame = frame.replace("photo", f"{draw.choice(_ADJECTIVES)} photo")
    return frame.format(sentence)


def words_of(scenes: world.Scenes, row: int) -> dict[str, str]:
    """The attribute words of one scene."""
    return {name: values[int(getattr(scenes, name)[row])] for name, values in world.VALUES.items()}


def plain_caption(words: dict[str, str]) -> str:
    """The full sentence that names every attribute; used to sample for the report."""
    frame = {
        "photo": "a photo of {}",
        "pastel": "a pastel painting of {}",
        "dark": "a dark photo of {}",
        "sketch": "a sketch of {}",
    }[words["style"]]
    texture = "" if words["texture"] == "plain" else f"{words['texture']} "
    noun = f"a {words['size']} {words['colour']} {texture}{words['shape']}"
    place = _PLACES[words["position"]][0]
    return frame.format(f"{noun} {place}, {_GROUNDS[words['background']][1]}")


def vocabulary() -> list[str]:
    """Every word and mark that the grammar can say, sorted."""
    phrases = [*_FRAMES, *_ADJECTIVES, *_NOUNS, *_ARTICLES, *_SPOILT_FRAMES, ","]
    for table in (_STYLE_FRAMES, _PLACES, _GROUNDS):
        phrases += [phrase for options in table.values() for phrase in options]
    for name in ("shape", "texture", "size"):
        phrases += world.VALUES[name]
    phrases += world.COLOURS
    said = " ".join(phrases).replace("{}", " ").replace(",", " , ")
    return sorted(set(said.split()))
