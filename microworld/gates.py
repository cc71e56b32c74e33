"""The validity gates: what real models do and this toy must do too. `python -m microworld.gates`.

Until a toy reproduces these, nothing measured on it says anything about recipes for real models.
"""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import concepts, networks
from .expand import expand
from .learning import Learner

log = logging.getLogger(__name__)

BATCH = {"batch_size": 4, "prompts_per_step": 2, "equal_pulls": False}
RATE = {"learning_rate": 0.05, "warmup_steps": 10, "momentum": 0.9}
"""Of the runs on the sphere: the gates ask about the world, not about our recipe's defaults."""


@dataclass(frozen=True)
class Verdict:
    """One gate: what it asks, whether the world passes, and the figures."""

    gate: str
    passed: bool
    figures: str


def _correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's r."""
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    spread = math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return covariance / spread if spread else 0.0


def norm_inflation(learner: Learner) -> Verdict:
    """(i) A1111's rate, 5e-3, inflates the norm over tenfold, as lr * sqrt(d * T) says.

    d counts the live channels; those beyond share one gradient, that of the layer norms'
    statistics, and are not free to wander.
    """
    rate, steps = 5e-3, 10_000
    concept = concepts.concept("red-star")
    norms, moved, start = [], 0.0, None
    for moment in learner.run(
        concept,
        every=2000,
        steps=steps,
        optimizer="adamw",
        learning_rate=rate,
        warmup_steps=0,
        final_rate=1.0,
        batch_size=1,
        timestep_density="uniform",
        timestep_from=0.0,
        timestep_to=1.0,
        averaging=0.0,
        probe_size=1,
    ):
        start = moment.vectors if start is None else start
        norms.append(float(moment.vectors.norm(dim=1).mean()))
        moved = float((moment.vectors - start).norm())
        log.info("(i) step %d: norm %.3f, moved %.3f", moment.step, norms[-1], moved)
    law = rate * math.sqrt(networks.TEXT_WIDTH * steps)
    first, last = norms[0], norms[-1]
    passed = last / first > 10 and 0.5 <= moved / law <= 2
    return Verdict(
        "(i) norm inflation at lr 5e-3",
        passed,
        f"{first:.2f} to {last:.2f} ({last / first:.1f}x) in {steps} steps; "
        f"moved {moved:.2f}, the law says {law:.2f}",
    )


def rates_trace_a_curve(learner: Learner) -> Verdict:
    """(ii) A low and a high rate lie on one curve: more likeness, less editability."""
    scores = {}
    for rate in (1e-4, 2e-2):
        scores[rate] = _mean_scores(
            learner, steps=300, optimizer="adamw", learning_rate=rate, averaging=0.0, **BATCH
        )
        log.info("(ii) lr %g: R %.3f, E %.3f", rate, *scores[rate])
    low, high = scores[1e-4], scores[2e-2]
    return Verdict(
        "(ii) low and high rate trade R for E",
        high[0] > low[0] and high[1] < low[1],
        f"lr 1e-4: R {low[0]:.2f}, E {low[1]:.2f}; lr 2e-2: R {high[0]:.2f}, E {high[1]:.2f}",
    )


def vectors_cost_editability(learner: Learner) -> Verdict:
    """(iii) Three vectors edit worse than one."""
    one = _mean_scores(learner, steps=300, num_vectors=1, **RATE, **BATCH)
    three = _mean_scores(learner, steps=300, num_vectors=3, **RATE, **BATCH)
    return Verdict(
        "(iii) three vectors edit worse than one",
        three[1] < one[1],
        f"1 vector: R {one[0]:.2f}, E {one[1]:.2f}; 3: R {three[0]:.2f}, E {three[1]:.2f}",
    )


def high_noise_teaches(learner: Learner) -> Verdict:
    """(iv) Timesteps 500-1000 teach the concept, 0-500 do not."""
    names = ("red-star", "green-ring")
    scores = {}
    for label, start, end in (("high", 0.5, 1.0), ("low", 0.0, 0.5)):
        found = []
        for name in names:
            concept = concepts.concept(name)
            moments = list(
                learner.run(
                    concept,
                    every=100,
                    steps=200,
                    timestep_density="uniform",
                    timestep_from=start,
                    timestep_to=end,
                    **RATE,
                    **BATCH,
                )
            )
            found.append(learner.reconstruction(concept, moments[-1].vectors))
        scores[label] = sum(found) / len(found)
        log.info("(iv) %s: %s", label, found)
    return Verdict(
        "(iv) high noise beats low noise",
        scores["high"] > scores["low"],
        f"R {scores['high']:.2f} with t in 500-1000, {scores['low']:.2f} with t in 0-500 "
        f"({', '.join(names)}; 200 steps)",
    )


def bank_follows_quality(learner: Learner) -> Verdict:
    """(v) The fixed bank's loss follows quality (|r| > 0.8), the training loss does not.

    The training loss is drawn as the trainers that print it do: one picture at a uniform timestep.
    """
    concept = concepts.concept("red-star")
    quality, bank, loss, mean = [], [], [], []
    for moment in learner.run(
        concept,
        every=16,
        steps=400,
        averaging=0.0,
        probe_size=32,
        batch_size=1,
        timestep_density="uniform",
        timestep_from=0.0,
        timestep_to=1.0,
        **RATE,
    ):
        quality.append(learner.reconstruction(concept, moment.vectors, count=48))
        bank.append(moment.probe)
        loss.append(moment.step_loss)
        mean.append(moment.loss)
        log.info(
            "(v) step %d: R %.3f, bank %.5f, loss %.5f",
            moment.step,
            quality[-1],
            bank[-1],
            loss[-1],
        )
    of_bank, of_loss, of_mean = (_correlation(quality[1:], row[1:]) for row in (bank, loss, mean))
    return Verdict(
        "(v) the bank follows quality, the loss does not",
        of_bank < -0.8 and of_loss > -0.5,
        f"r(R, bank) = {of_bank:.2f}, r(R, loss of the step) = {of_loss:.2f}, r(R, mean loss of "
        f"16 steps) = {of_mean:.2f} over {len(bank) - 1} moments",
    )


def _mean_scores(learner: Learner, **recipe: object) -> tuple[float, float]:
    names, likeness, edits = ("red-star", "green-ring"), [], []
    for name in names:
        concept = concepts.concept(name)
        moments = list(learner.run(concept, every=100, **recipe))
        likeness.append(learner.reconstruction(concept, moments[-1].vectors))
        edits.append(learner.edits(concept, moments[-1].vectors)[0])
    return sum(likeness) / len(names), sum(edits) / len(names)


GATES: dict[str, Callable[[Learner], Verdict]] = {
    "i": norm_inflation,
    "ii": rates_trace_a_curve,
    "iii": vectors_cost_editability,
    "iv": high_noise_teaches,
    "v": bank_follows_quality,
}


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts in Markdown."""
    lines = ["| gate | verdict | figures |", "|---|---|---|"]
    lines += [f"| {v.gate} | {'pass' if v.passed else 'FAIL'} | {v.figures} |" for v in verdicts]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--gates", nargs="+", choices=GATES, default=list(GATES))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(args.comfyui, expand(Path(folder, "microworld.safetensors")))
        verdicts = []
        for name in args.gates:
            verdicts.append(GATES[name](learner))
            log.info("%s", verdicts[-1])
    print(table(verdicts))


if __name__ == "__main__":
    main()
