"""A prompt read against a vocabulary: the text to encode, what its words mean, and a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .embedding import EmbeddingError
from .grammar.formula import Expression, Named, leaves
from .grammar.outline import outlined
from .grammar.sugar import Plain, StandIn, desugar, stray_formula
from .keywords import Keywords
from .names import without_extension
from .references import Reference, expand, find, placed, without
from .vocabulary import Vocabulary

ON_MISSING = ("error", "warning", "drop")


@dataclass(frozen=True)
class Composition:
    """The text with ordinary references only, and by name what each of them means.

    `resolved` has a line for every reference, `warnings` what else is to be said.
    """

    text: str
    words: dict[str, Expression] = field(default_factory=dict)
    resolved: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def report(self) -> str:
        lines = [*self.resolved, *(f"Warning: {warning}" for warning in self.warnings)]
        return "\n".join(lines) or "No embeddings in this text."


def compose(
    text: str,
    vocabulary: Vocabulary,
    *,
    missing: str = "error",
    keywords: Keywords | None = None,
    for_core: bool = False,
) -> Composition:
    """Expand everything in a prompt that means an embedding.

    `missing` says what becomes of a name that is not there or cannot be read: 'error' raises
    EmbeddingError with the place outlined, 'warning' keeps it in the text, where ComfyUI passes
    over it, 'drop' takes it out. With `for_core` the text is for ComfyUI's own encoder, which
    finds files only: formulas, slices and names that it cannot reach raise EmbeddingError.
    """
    if missing not in ON_MISSING:
        raise EmbeddingError(f"'missing' is '{missing}', not one of {', '.join(ON_MISSING)}.")
    reading = _Reading(text, vocabulary, keywords or Keywords({}), for_core)
    problems = reading.problems()
    if problems and missing == "error":
        raise EmbeddingError("\n".join(problems))
    written = reading.written(drop_missing=missing == "drop")
    words = {one.target: reading.meaning(one) for one in reading.present() if one.target}
    plain_problems = [problem.split("\n")[0] for problem in problems]
    warnings = [*plain_problems, *reading.remarks()]
    return Composition(written, words, tuple(reading.lines()), tuple(_once(warnings)))


def names_in(text: str, vocabulary: Vocabulary, keywords: Keywords | None = None) -> list[str]:
    """Every name that a prompt refers to, as it is known or else as it is written."""
    reading = _Reading(text, vocabulary, keywords or Keywords({}), False)
    named = (
        leaf
        for one in reading.found
        for leaf in leaves(reading.meaning(one))
        if isinstance(leaf, Named)
    )
    return sorted({leaf.target or leaf.name for leaf in named})


class _Reading:
    """One prompt while it is being composed."""

    def __init__(
        self, text: str, vocabulary: Vocabulary, keywords: Keywords, for_core: bool
    ) -> None:
        self.text = text
        self.vocabulary = vocabulary
        self.for_core = for_core
        self.plain: Plain = desugar(text, vocabulary.find)
        found = find(self.plain.text, self._target, keywords)
        matched = {one.name: one.target for one in found if one.is_keyword}
        self.words = Keywords(
            {word: target and vocabulary.find(target) for word, target in matched.items()}
        )
        self.found: Sequence[Reference] = [
            one._replace(target=self.words.targets[one.name]) if one.is_keyword else one
            for one in found
        ]

    def present(self) -> list[Reference]:
        return [one for one in self.found if one.target is not None]

    def meaning(self, reference: Reference) -> Expression:
        """What a reference stands for; a stand-in means its expression."""
        stand_in = self.plain.stand_ins.get(reference.name)
        if stand_in is not None:
            return stand_in.expression
        return Named(reference.name, reference.target)

    def problems(self) -> list[str]:
        """A sentence for everything that is missing, with the place outlined below it."""
        return _once(
            self._with_outline(problem, one)
            for one in self.found
            if one.target is None
            for problem in self._problems_of(one)
        )

    def remarks(self) -> list[str]:
        stray = stray_formula(self.plain.text)
        hint = (
            f"'{stray}' is no formula without braces; in ComfyUI's text boxes a formula is written "
            "\\{...\\}, because the page takes single braces for a random choice."
        )
        named = (leaf for one in self.present() for leaf in leaves(self.meaning(one)))
        targets = [leaf.target for leaf in named if isinstance(leaf, Named) and leaf.target]
        remarks = (self.vocabulary.remark(target) for target in targets)
        return [*([hint] if stray else []), *(remark for remark in remarks if remark)]

    def written(self, *, drop_missing: bool) -> str:
        """The text to encode."""
        text = self.plain.text
        if all(one.target is not None or one.is_keyword for one in self.found):
            text = placed(text, self.found)
        else:
            text = without(
                text,
                self._target,
                lambda one: one.target is None and one.name in self.plain.stand_ins,
                self.words,
            )
            text = expand(text, self._target, self.words, drop_missing=drop_missing)
        return self.text if text == self.plain.text and not self.plain.stand_ins else text

    def lines(self) -> list[str]:
        return _once(self._line(one) for one in self.present())

    def _target(self, name: str) -> str | None:
        stand_in = self.plain.stand_ins.get(name)
        if stand_in is None:
            return self.vocabulary.find(name)
        if stand_in.missing:
            return None
        return self._reachable(stand_in) if self.for_core else name

    def _reachable(self, stand_in: StandIn) -> str:
        """The name by which ComfyUI's own encoder finds what a stand-in means."""
        meant = stand_in.expression
        if isinstance(meant, Named) and meant.target and not meant.is_sliced:
            if self.vocabulary.writable(meant.target):
                return meant.target
            raise EmbeddingError(
                f"{stand_in.shown} is no name that ComfyUI's own text encoder can find; use "
                "Encode Embedding Prompt, or rename the file."
            )
        raise EmbeddingError(
            f"{stand_in.shown} is calculated while encoding; use Encode Embedding Prompt."
        )

    def _problems_of(self, reference: Reference) -> list[str]:
        if not reference.name:
            return ["The text has an 'embedding:' without a name behind it."]
        stand_in = self.plain.stand_ins.get(reference.name)
        missing = stand_in.missing if stand_in else [reference.name]
        return [self.vocabulary.problem(name) for name in missing]

    def _with_outline(self, problem: str, reference: Reference) -> str:
        stand_in = self.plain.stand_ins.get(reference.name)
        written = stand_in.shown if stand_in else self.plain.text[reference.start : reference.end]
        shown = outlined(self.text, written)
        return f"{problem}\n{shown}" if shown else problem

    def _line(self, reference: Reference) -> str:
        weight = f", weight {reference.weight:.4g}" if reference.weight != 1 else ""
        match = f", keyword '{reference.name}'" if reference.is_keyword else ""
        meant = self.meaning(reference)
        stand_in = self.plain.stand_ins.get(reference.name)
        if isinstance(meant, Named) and meant.target:
            held = self.vocabulary.embedding(meant.target).describe()
            origin = self.vocabulary.origin(meant.target)
            shown = f"embedding:{without_extension(meant.target)}"
            if stand_in is not None and (meant.is_sliced or " " in meant.target):
                shown = stand_in.shown
            return f"{shown} = {origin}, {held}{match}{weight}"
        named = (leaf for leaf in leaves(meant) if isinstance(leaf, Named) and leaf.target)
        origins = _once(self.vocabulary.origin(leaf.target or "") for leaf in named)
        shown = stand_in.shown if stand_in else reference.name
        return f"{shown} = a formula of {', '.join(origins) or 'words'}{weight}"


def _once(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
