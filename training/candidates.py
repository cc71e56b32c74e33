"""Plain words to try as the initializer text: broad ones first, then those below the best."""

from __future__ import annotations

SUBJECTS: dict[str, tuple[str, ...]] = {
    "animal": ("dog", "cat", "bird", "horse", "bear", "fish", "rabbit", "mouse", "lion", "insect"),
    "person": ("man", "woman", "boy", "girl", "child", "face", "figure", "soldier", "dancer"),
    "plant": ("flower", "tree", "leaf", "rose", "cactus", "grass", "mushroom", "bush"),
    "food": ("fruit", "cake", "bread", "apple", "pizza", "soup", "cheese", "candy", "vegetable"),
    "vehicle": ("car", "truck", "bus", "train", "boat", "ship", "bicycle", "plane", "motorcycle"),
    "building": ("house", "tower", "church", "castle", "bridge", "shop", "cabin", "temple"),
    "furniture": ("chair", "table", "bed", "sofa", "lamp", "shelf", "desk", "clock"),
    "clothes": ("hat", "shoe", "shirt", "dress", "coat", "bag", "glasses", "watch", "scarf"),
    "toy": ("doll", "robot", "teddy", "puppet", "ball", "puzzle", "figurine", "balloon"),
    "container": ("cup", "bottle", "jar", "vase", "bowl", "box", "jug", "pot", "basket", "can"),
    "tool": ("knife", "hammer", "spoon", "key", "brush", "pen", "scissors", "camera", "phone"),
    "instrument": ("guitar", "piano", "drum", "violin", "trumpet", "flute", "bell"),
    "sculpture": ("statue", "mask", "carving", "bust", "relief", "crystal", "stone"),
    "shape": ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond"),
    "sign": ("logo", "letter", "number", "symbol", "flag", "poster", "book", "card"),
    "place": ("room", "street", "garden", "beach", "forest", "mountain", "field", "kitchen"),
}

STYLES: dict[str, tuple[str, ...]] = {
    "painting": ("watercolor", "oil", "acrylic", "fresco", "mural", "gouache", "portrait"),
    "drawing": ("sketch", "pencil", "charcoal", "ink", "chalk", "crayon", "doodle"),
    "print": ("woodcut", "engraving", "etching", "stamp", "poster", "stencil"),
    "cartoon": ("comic", "anime", "manga", "animation", "caricature"),
    "photo": ("film", "polaroid", "snapshot", "noir", "vintage", "macro"),
    "mosaic": ("collage", "tapestry", "embroidery", "patchwork", "glass", "tile"),
    "render": ("sculpture", "clay", "plastic", "voxel", "polygon", "hologram"),
    "abstract": ("cubism", "minimalist", "geometric", "surreal", "graffiti", "gothic"),
    "pattern": ("stripes", "dots", "checkered", "floral", "marble", "texture"),
    "pixel": ("retro", "neon", "glitch", "futuristic", "game"),
}

FAULTS: dict[str, tuple[str, ...]] = {
    "blurry": ("blur", "unfocused", "hazy", "foggy", "soft", "smeared"),
    "noise": ("grainy", "static", "artifacts", "dirty", "rough", "scratched"),
    "deformed": ("distorted", "ugly", "broken", "twisted", "mutated", "disfigured"),
    "dark": ("underexposed", "shadow", "dim", "black", "gloomy"),
    "bright": ("overexposed", "washed", "faded", "pale", "white"),
    "text": ("watermark", "logo", "letters", "signature", "caption"),
    "bad": ("poor", "wrong", "amateur", "messy", "cheap", "low"),
}

PEOPLE: dict[str, tuple[str, ...]] = {
    "man": ("boy", "father", "grandfather", "actor", "king", "gentleman"),
    "woman": ("girl", "mother", "grandmother", "actress", "queen", "lady"),
    "child": ("baby", "toddler", "kid", "teenager", "student"),
    "person": ("face", "portrait", "singer", "athlete", "doctor", "soldier"),
}

_BY_KIND = {"subject": SUBJECTS, "style": STYLES, "negative": FAULTS, "person": PEOPLE}


def candidates(kind: str) -> dict[str, tuple[str, ...]]:
    """Broad words of a kind, and the narrower ones below each."""
    return _BY_KIND[kind]
