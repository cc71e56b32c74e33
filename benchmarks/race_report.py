"""The race as tables: T90, its ratios to ours with intervals, H at the end, and every mark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from .race import Results
from .race_cells import Cell
from .recipes import CONTESTANTS, OURS, PRESETS, VARIANTS, probe_share
from .step_time import StepTime
from .t90 import Interval, paired, t90

Entry = tuple[str, float | None]
TARGETS = (
    ("T90 in seconds, diffusers' README over ours", 8.0),
    ("T90 in seconds, the best tuned recipe's over ours", 2.0),
)


def tables(results: Results, steps: Mapping[int, StepTime]) -> str:
    """Everything measured, in Markdown; ``steps`` are step times by batch, for the seconds."""
    parts = [_about(results), _race(results, steps), _targets(results, steps), _marks(results)]
    if any(name in PRESETS for name, _ in results.runs):
        parts.append(_presets(results))
    return "\n\n".join(part for part in parts if part)


def _about(results: Results) -> str:
    plan = results.plan
    text = (
        f"{len(plan.concepts)} concepts, seeds {', '.join(str(seed) for seed in plan.seeds)}, runs "
        f"of {plan.marks[-1]} "
        f"pictures scored after {', '.join(str(mark) for mark in plan.marks)}. "
        f"Mean H of the oracle's words {_mean(results.oracle.values()):.3f}, of the initializer "
        f"{_mean(results.start.values()):.3f}."
    )
    if results.tuned:
        rates = ", ".join(f"{name} {rate:g}" for name, rate in results.tuned.items())
        text += f" Rates tuned on {', '.join(plan.development)}: {rates}."
    if results.unfinished:
        text += f" **{results.unfinished} runs are still missing; the same command goes on.**"
    return text


def _race(results: Results, steps: Mapping[int, StepTime]) -> str:
    lines = [
        "| recipe | rate | T90, pictures | reached | times ours | T90, s | times ours | "
        "H at the end | ours is better by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ours = _cells(results, (OURS, None))
    for entry in _entries(results):
        cells = _cells(results, entry)
        if not cells:
            continue
        every = {key: _t90(results, cell) for key, cell in cells.items()}
        reached = sum(value is not None for value in every.values())
        middle = _middle(list(every.values()))
        pass_time = _pass_seconds(entry, steps)
        cut = results.plan.marks[-1]
        pictures = f"> {cut}" if middle is None else f"{middle:.0f}"
        seconds = ""
        if pass_time is not None:
            seconds = f"> {cut * pass_time:.0f}" if middle is None else f"{middle * pass_time:.0f}"
        ratio = timed = better = ""
        if entry[0] != OURS and set(cells) & set(ours):
            ratio = _ratio_text(pictures_ratio(results, entry), reached < len(cells))
            if pass_time is not None:
                times = seconds_ratio(results, entry, steps)
                timed = _ratio_text(times, reached < len(cells))
            better = _signed(end_difference(results, entry))
        lines.append(
            f"| {_title(entry)} | {_rate(entry)} | {pictures} "
            f"| {reached} of {len(cells)} | {ratio} | {seconds} | {timed} "
            f"| {_mean(cell.end.harmonic for cell in cells.values()):.3f} | {better} |"
        )
    lines += [
        "",
        "T90: the median run's. Ratios: the mean of paired runs' logarithms with its 95 % "
        "bootstrap interval over concepts, then seeds; a run that never gets there counts with its "
        "whole length, which makes a ratio marked with > a lower bound. Seconds: pictures times "
        "the seconds a picture takes with the full-size network: in diffusers' loop for recipes "
        "that encode their pictures in every step; for the others in ours with a sentence for each "
        "picture, four at most, as they were run; for our own recipe with its probes.",
    ]
    return "\n".join(lines)


def _targets(results: Results, steps: Mapping[int, StepTime]) -> str:
    ours = _cells(results, (OURS, None))
    if not ours:
        return ""
    lines = ["| target | asked | measured | |", "|---|---|---|---|"]
    readme = ("diffusers-readme", CONTESTANTS["diffusers-readme"].rate)
    if _cells(results, readme) and steps:
        lines.append(_target(*TARGETS[0], seconds_ratio(results, readme, steps)))
    tuned = [entry for entry in _tuned_entries(results) if _cells(results, entry)]
    if tuned and steps:
        lines.append(_best(TARGETS[1], tuned, lambda entry: seconds_ratio(results, entry, steps)))
    others = [e for e in _entries(results) if e[0] != OURS and _cells(results, e)]
    if others:
        best = max(others, key=lambda e: _mean(c.end.harmonic for c in _cells(results, e).values()))
        lead = end_difference(results, best)
        verdict = "met" if lead.value >= 0 else "MISSED"
        if lead.value < 0 <= lead.high:
            verdict = "within the noise"
        lines.append(
            f"| H at the end, ours less the best other's ({_title(best)}) | not below 0 "
            f"| {_signed(lead)} | {verdict} |"
        )
    return "\n".join(lines) if len(lines) > 2 else ""


def _best(
    target: tuple[str, float], entries: Sequence[Entry], ratio: Callable[[Entry], Interval]
) -> str:
    """The line of a target that the entry with the lowest ratio decides."""
    best = min(entries, key=lambda entry: ratio(entry).value)
    return _target(f"{target[0]} ({_title(best)})", target[1], ratio(best))


def _target(name: str, asked: float, found: Interval) -> str:
    verdict = "met" if found.value >= asked else "MISSED"
    return f"| {name} | {asked:g} | {_ratio_text(found, False)} | {verdict} |"


def _marks(results: Results) -> str:
    marks = results.plan.marks
    lines = [
        "Mean H after so many pictures, and reconstruction / editability / joint at the end:",
        "",
        "| recipe | rate | " + " | ".join(str(mark) for mark in marks) + " | R / E / J | norm |",
        "|---" * (4 + len(marks)) + "|",
    ]
    for entry in _entries(results):
        cells = list(_cells(results, entry).values())
        if not cells:
            continue
        heights = " | ".join(
            f"{_mean(cell.at(mark).harmonic for cell in cells):.3f}" for mark in marks
        )
        lines.append(
            f"| {_title(entry)} | {_rate(entry)} | {heights} "
            f"| {_three(cells)} | {_mean(cell.norm for cell in cells):.2f} |"
        )
    return "\n".join(lines)


def _presets(results: Results) -> str:
    lines = [
        "Presets, what they saved:",
        "",
        "| preset | pictures seen | H | R / E / J |",
        "|---|---|---|---|",
    ]
    for name, title in ((OURS, "auto"), *((name, PRESETS[name].title) for name in PRESETS)):
        cells = [cell for cell in _cells(results, (name, None)).values()]
        cells = [cell for cell in cells if cell.seed == results.plan.seeds[0]]
        if cells:
            seen = _mean(cell.pictures_seen for cell in cells)
            height = _mean(cell.end.harmonic for cell in cells)
            lines.append(f"| {title} | {seen:.0f} | {height:.3f} | {_three(cells)} |")
    for name, title in ((OURS, "auto, on a style"), ("style", "preset style, on a style")):
        cells = results.styles.get(name, [])
        if cells:
            seen = _mean(cell.pictures_seen for cell in cells)
            height = _mean(cell.end.harmonic for cell in cells)
            lines.append(f"| {title} | {seen:.0f} | {height:.3f} | {_three(cells)} |")
    return "\n".join(lines)


def pictures_ratio(results: Results, entry: Entry) -> Interval:
    """T90 of a recipe over ours, in pictures."""
    ours = _cells(results, (OURS, None))
    logs = {
        key: math.log(_counted(results, cell)) - math.log(_counted(results, ours[key]))
        for key, cell in _cells(results, entry).items()
        if key in ours
    }
    return paired(logs, math.exp)


def seconds_ratio(results: Results, entry: Entry, steps: Mapping[int, StepTime]) -> Interval:
    """T90 of a recipe over ours, in seconds with the full-size network."""
    found, scale = pictures_ratio(results, entry), _pass_seconds(entry, steps)
    own = _pass_seconds((OURS, None), steps)
    if scale is None or own is None:
        return Interval(math.nan, math.nan, math.nan)
    factor = scale / own
    return Interval(factor * found.value, factor * found.low, factor * found.high)


def end_difference(results: Results, entry: Entry) -> Interval:
    """H of what ours saved less that of the recipe."""
    ours = _cells(results, (OURS, None))
    cells = _cells(results, entry)
    common = [key for key in cells if key in ours]
    return paired({key: ours[key].end.harmonic - cells[key].end.harmonic for key in common})


def _counted(results: Results, cell: Cell) -> float:
    """T90, at least one picture; the whole length of a run that never gets there."""
    found = _t90(results, cell)
    return float(results.plan.marks[-1]) if found is None else max(1.0, found)


def _t90(results: Results, cell: Cell) -> float | None:
    curve = [(0, results.start[cell.concept])]
    curve += [(mark, cell.at(mark).harmonic) for mark in results.plan.marks]
    return t90(curve, results.oracle[cell.concept])


def _entries(results: Results) -> list[Entry]:
    return [entry for entry in results.runs if entry[0] not in PRESETS]


def _title(entry: Entry) -> str:
    if entry[0] in VARIANTS:
        return ", ".join(f"{knob} {value}" for knob, value in VARIANTS[entry[0]].items())
    tuned = "" if entry[1] == CONTESTANTS[entry[0]].rate else ", tuned"
    return CONTESTANTS[entry[0]].title + tuned


def _tuned_entries(results: Results) -> list[Entry]:
    return [(name, rate) for name, rate in results.tuned.items()]


def _cells(results: Results, entry: Entry) -> dict[tuple[str, int], Cell]:
    return {(cell.concept, cell.seed): cell for cell in results.runs.get(entry, [])}


def _pass_seconds(entry: Entry, steps: Mapping[int, StepTime]) -> float | None:
    contestant = CONTESTANTS.get(entry[0])
    time = steps.get(contestant.batch) if contestant else None
    if contestant is None or time is None:
        return None
    if contestant.encodes_every_step:
        return time.diffusers / contestant.batch
    if entry[0] != OURS:
        return time.sentences / contestant.batch
    return time.ours / contestant.batch / (1 - probe_share())


def _rate(entry: Entry) -> str:
    return "" if entry[1] is None else f"{entry[1]:g}"


def _middle(values: Sequence[float | None]) -> float | None:
    ordered = sorted(math.inf if value is None else value for value in values)
    middle = ordered[len(ordered) // 2]
    return None if math.isinf(middle) else middle


def _ratio_text(found: Interval, bound: bool) -> str:
    return f"{'> ' if bound else ''}{found.value:.1f} ({found.low:.1f} to {found.high:.1f})"


def _signed(found: Interval) -> str:
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _three(cells: Sequence[Cell]) -> str:
    names = ("reconstruction", "editability", "joint")
    return " / ".join(f"{_mean(getattr(cell.end, name) for cell in cells):.2f}" for name in names)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else math.nan
