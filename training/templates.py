"""Sentences in which a word is learnt; ``{}`` is the word. Drawn anew every step."""

from __future__ import annotations

SUBJECT = (
    "{}",
    "a photo of {}",
    "a picture of {}",
    "a photo of one {}",
    "a clear photo of {}",
    "a close photo of {}",
    "a photo showing {}",
    "a simple picture of {}",
    "a detailed picture of {}",
    "a bright photo of {}",
    "a dim photo of {}",
    "a sharp image of {}",
    "an image of {}",
    "this is {}",
    "here is {}",
    "we see {}",
    "a snapshot of {}",
    "a plain view of {}",
    "a good look at {}",
    "{} in the middle of a picture",
    "{} seen from nearby",
    "{} seen from a distance",
    "the picture shows {}",
    "someone's photo of {}",
    "an ordinary photo of {}",
    "a portrait of {}",
)

PERSON = (
    "{}",
    "a photo of {}",
    "a portrait of {}",
    "a picture of {}",
    "a close portrait of {}",
    "a photo of the face of {}",
    "{} looking at the camera",
    "{} looking to one side",
    "{} outdoors",
    "{} indoors",
    "a photo of {} standing",
    "a photo of {} sitting",
    "a snapshot of {}",
    "a candid photo of {}",
    "an ordinary photo of {}",
    "a bright photo of {}",
    "a photo of {} in dim light",
    "{} seen from nearby",
    "{} seen from a distance",
    "a photo of {}, upper body",
    "this is {}",
    "the picture shows {}",
)

STYLE = (
    "{}",
    "a picture in the style of {}",
    "a drawing in the style of {}",
    "an image in the style of {}",
    "a scene in the style of {}",
    "a work in the style of {}",
    "art in the style of {}",
    "a small picture in the style of {}",
    "a detailed picture in the style of {}",
    "a bright picture in the style of {}",
    "a dark picture in the style of {}",
    "a simple picture, {} style",
    "something drawn in the manner of {}",
    "a view as {} would show it",
    "a composition in the style of {}",
    "a study in the style of {}",
)

NEGATIVE = (
    "{}",
    "a picture, {}",
    "a photo, {}",
    "an image with {}",
    "a picture spoilt by {}",
    "a photo that shows {}",
    "{}, a picture",
    "a drawing, {}",
    "an example of {}",
)

_BY_KIND = {"subject": SUBJECT, "style": STYLE, "negative": NEGATIVE, "person": PERSON}


def templates(kind: str) -> tuple[str, ...]:
    """The templates of a kind: 'subject', 'style', 'negative' or 'person'."""
    return _BY_KIND[kind]


def preview_prompts(kind: str, word: str) -> tuple[str, str]:
    """The prompt and negative prompt that show a word of this kind."""
    if kind == "negative":
        return "a picture", word
    if kind == "style":
        return f"a picture in the style of {word}", ""
    return f"a photo of {word}", ""
