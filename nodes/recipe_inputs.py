"""Node inputs made from the recipe's knobs, so that range, default and tooltip are said once."""

from comfy_api.latest import io

from ..training.presets import FIDELITY_PROSE, PRESET_PROSE, PRESETS, filled_in, summary
from ..training.recipe import default, knobs


def knob_input(name, *, optional=False):
    """The input widget of one knob of the recipe."""
    knob, value = knobs()[name], default(name)
    common = {"tooltip": knob.prose, "default": value, "optional": optional}
    if knob.choices:
        return io.Combo.Input(name, options=list(knob.choices), **common)
    if isinstance(value, bool):
        return io.Boolean.Input(name, **common)
    if isinstance(value, int):
        if name == "seed":
            common["control_after_generate"] = fixed_seed()
        return io.Int.Input(name, min=int(knob.minimum), max=int(knob.maximum), **common)
    if isinstance(value, float):
        return io.Float.Input(
            name, min=knob.minimum, max=knob.maximum, step=knob.step, round=False, **common
        )
    return io.String.Input(name, multiline=name == "preview_prompts", **common)


def fixed_seed():
    """What asks the page to keep a seed between two runs; older hosts only know yes or no."""
    known = getattr(io, "ControlAfterGenerate", None)
    return True if known is None else known.fixed


def preset_inputs():
    """The widgets for the preset and for the slider between editable and faithful."""
    return [
        io.Combo.Input(
            "preset",
            options=list(PRESETS),
            default="auto",
            optional=True,
            tooltip=PRESET_PROSE,
        ),
        io.Float.Input(
            "fidelity",
            default=0.0,
            min=-1.0,
            max=1.0,
            step=0.1,
            round=False,
            optional=True,
            tooltip=FIDELITY_PROSE,
        ),
    ]


def chosen_recipe(given, names, options):
    """The recipe of a node's widgets, which are taken out of ``given``, and what to notice."""
    values = {name: given.pop(name) for name in names}
    for changed in options or ():
        values |= changed
    preset, fidelity = given.pop("preset", "auto"), given.pop("fidelity", 0.0)
    recipe = filled_in(preset, float(fidelity), values)
    set_by_preset = summary(recipe, values)
    named = f"Preset {preset}, fidelity {fidelity:g}: "
    return recipe, (named + set_by_preset + ".",) if set_by_preset else ()
