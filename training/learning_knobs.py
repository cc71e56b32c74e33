"""The knobs that say how and from what a word is learnt."""

from __future__ import annotations

import dataclasses

from .knobs import knob


@dataclasses.dataclass(frozen=True)
class LearningKnobs:
    """All knobs of a recipe but those of the run around the learning."""

    kind: str = knob(
        "subject",
        "What the pictures show: a subject, a style, bad pictures for a negative prompt, or a "
        "person. It chooses the sentences the word is learnt in.",
        choices=("subject", "style", "negative", "person"),
    )
    num_vectors: int = knob(
        1,
        "How many vectors the word takes in a prompt, of the 75 a prompt holds. One edits best; "
        "2 to 8 catch more detail and follow the rest of the prompt less.",
        minimum=1,
        maximum=75,
    )
    steps: int = knob(
        400,
        "The most steps to train. The run stops earlier when the probe bank no longer improves; "
        "100 to 400 are enough for nearly every concept.",
        minimum=1,
        maximum=100_000,
    )
    learning_rate: float = knob(
        0.4,
        "How far a step turns a vector at most, in radians (0.05 to 0.5; higher learns in fewer "
        "steps, lower stays nearer to known words). With optimizer adamw it is AdamW's own rate, "
        "about 0.0003 to 0.005.",
        minimum=0.0,
        maximum=1.0,
        step=0.001,
    )
    batch_size: int = knob(
        6,
        "Pictures a step. Six point the way well enough for long steps; with fewer, a lower "
        "learning_rate is safer, and more than 8 only cost time.",
        minimum=1,
        maximum=64,
    )
    seed: int = knob(
        0,
        "The same seed, pictures and settings give the same file on the same machine.",
        minimum=0,
        maximum=2**53 - 1,
    )
    optimizer: str = knob(
        "sphere",
        "sphere turns each vector at the norm of real words, so it can't drown the rest of the "
        "prompt. adamw lets the norm grow, as older trainers do; use it for old recipes.",
        group="optimizer",
        choices=("sphere", "adamw"),
    )
    learning_rate_schedule: str = knob(
        "",
        "Empty: warm-up, then a cosine down to a tenth. Or steps written out, as in "
        "'5e-3:100, 1e-3:1000, 5e-4': 5e-3 until step 100, 1e-3 until step 1000, then 5e-4.",
        group="optimizer",
    )
    warmup_steps: int = knob(
        2,
        "Steps over which the learning rate rises from nothing, while the optimizer learns how "
        "large gradients are.",
        group="optimizer",
        minimum=0,
        maximum=10_000,
    )
    final_rate: float = knob(
        0.1,
        "The learning rate at the last step, as a share of the highest.",
        group="optimizer",
        minimum=0.0,
        maximum=1.0,
        step=0.01,
    )
    momentum: float = knob(
        0.5,
        "How much of the last direction a step keeps (0 to 0.99). Higher averages over more "
        "pictures and noise.",
        group="optimizer",
        minimum=0.0,
        maximum=0.999,
        step=0.01,
    )
    gradient_averaging: float = knob(
        0.99,
        "How slowly the estimate of the gradient's size follows the latest one (0 to 0.9999).",
        group="optimizer",
        minimum=0.0,
        maximum=0.9999,
        step=0.001,
    )
    weight_decay: float = knob(
        0.0,
        "AdamW's pull of the vectors toward zero; only with optimizer adamw.",
        group="optimizer",
        minimum=0.0,
        maximum=1.0,
        step=0.01,
    )
    prior: float = knob(
        0.0,
        "Pull toward the initializer text's direction, as a share of the usual gradient; it "
        "matters where the pictures say little. 0 turns it off; 0.02 keeps the word closer to its "
        "class.",
        group="optimizer",
        minimum=0.0,
        maximum=1.0,
        step=0.005,
    )
    spread: float = knob(
        0.05,
        "With several vectors started from fewer words: how far, in radians, copies are turned "
        "apart so that they can learn different things.",
        group="optimizer",
        minimum=0.0,
        maximum=1.5,
        step=0.01,
    )
    averaging: float = knob(
        0.2,
        "The saved vector is an average over about this share of the latest steps, which removes "
        "what is left of the noise. 0 saves the last step's vector.",
        group="optimizer",
        minimum=0.0,
        maximum=0.9,
        step=0.05,
    )
    timestep_density: str = knob(
        "high_noise",
        "high_noise draws timesteps in proportion to max logSNR - logSNR(t): shape and colour "
        "are decided there. uniform draws all alike.",
        group="noise",
        choices=("high_noise", "uniform"),
    )
    timestep_from: float = knob(
        0.05,
        "The lowest timestep drawn, as a share of the schedule (0 is a clean picture).",
        group="noise",
        minimum=0.0,
        maximum=1.0,
        step=0.01,
    )
    timestep_to: float = knob(
        0.95,
        "The highest timestep drawn, as a share of the schedule (1 is pure noise).",
        group="noise",
        minimum=0.0,
        maximum=1.0,
        step=0.01,
    )
    noise_offset: float = knob(
        0.0,
        "A shift of the noise, drawn for each picture and channel, which teaches very dark and "
        "very bright pictures. 0.05 to 0.1 where they matter, else 0.",
        group="noise",
        minimum=0.0,
        maximum=1.0,
        step=0.01,
    )
    min_snr_gamma: float = knob(
        0.0,
        "Quietens timesteps of little noise: their loss is weighed by min(SNR, gamma) / SNR. "
        "0 is off; 5 is usual with uniform timesteps, high_noise hardly needs it.",
        group="noise",
        minimum=0.0,
        maximum=100.0,
        step=0.5,
    )
    loss: str = knob(
        "l2",
        "l2 is the loss diffusion models are trained with; huber weighs outliers less.",
        group="noise",
        choices=("l2", "huber"),
    )
    huber_delta: float = knob(
        0.1,
        "Where huber turns from square to straight, in units of the noise.",
        group="noise",
        minimum=0.0001,
        maximum=10.0,
        step=0.01,
    )
    prompts_per_step: int = knob(
        0,
        "Different sentences a step. 0 chooses: one for every picture of the batch, or one for all "
        "on a CPU, where encoding them is what takes longest.",
        group="prompts",
        minimum=0,
        maximum=64,
    )
    bare_share: float = knob(
        0.0,
        "How often the prompt is the word alone, as a share of the draws. 0.1 helps captions "
        "that say much; templates hold the bare word already.",
        group="prompts",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
    )
    tag_shuffle: bool = knob(
        False,
        "Put the comma-separated tags of a caption in another order every time, so that their "
        "order isn't learnt.",
        group="prompts",
    )
    tag_dropout: float = knob(
        0.0,
        "The chance that a tag of a caption is left out of a step. Left-out tags move their "
        "meaning into the word; 0 keeps all.",
        group="prompts",
        minimum=0.0,
        maximum=0.95,
        step=0.05,
    )
    tags_kept: int = knob(
        1,
        "This many tags at the start of a caption are neither moved nor left out. The tag with "
        "the word in it never is.",
        group="prompts",
        minimum=0,
        maximum=75,
    )
    resolution: int = knob(
        512,
        "Pictures are scaled and cropped to about this many pixels squared, keeping their aspect. "
        "Pictures that all have one size no larger than this are used as they are.",
        group="pictures",
        minimum=64,
        maximum=2048,
    )
    flip: str = knob(
        "off",
        "Also learn from mirrored pictures: off where left and right matter (faces, text, "
        "positions), on, or auto: on unless the model finds the mirrored ones harder.",
        group="pictures",
        choices=("off", "on", "auto"),
    )
    mask_background: float = knob(
        0.1,
        "With masks: how much what lies outside counts, compared with inside. 0 leaves it out "
        "altogether, 1 is as without masks.",
        group="pictures",
        minimum=0.0,
        maximum=1.0,
        step=0.05,
    )
    contrast: float = knob(
        100.0,
        "With good pictures beside the bad ones of a negative word: how sharply the two are told "
        "apart. Higher looks only at pictures not told apart yet.",
        group="pictures",
        minimum=0.1,
        maximum=100_000.0,
        step=1.0,
    )
    probe_every: int = knob(
        6,
        "Steps between two measurements on the probe bank, which chooses the vector that is saved.",
        group="probe",
        minimum=1,
        maximum=10_000,
    )
    probe_size: int = knob(
        8,
        "Fixed (picture, noise, timestep, prompt) sets in the probe bank.",
        group="probe",
        minimum=1,
        maximum=256,
    )
    keep: str = knob(
        "best",
        "Which vectors are saved: the best on the probe bank, or those of the last step, as other "
        "trainers do.",
        group="probe",
        choices=("best", "last"),
    )
    early_stop: bool = knob(
        True,
        "Stop when the probe bank has stopped improving.",
        group="probe",
    )
    early_stop_after: int = knob(
        100,
        "Steps that are always trained before an early stop is considered.",
        group="probe",
        minimum=1,
        maximum=100_000,
    )
    preview_every: int = knob(
        100,
        "Steps between two preview pictures on the node; 0 makes none until the end.",
        group="previews",
        minimum=0,
        maximum=100_000,
    )
