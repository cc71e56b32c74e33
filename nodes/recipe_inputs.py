"""Node inputs made from the recipe's knobs, so that range, default and tooltip are said once."""

from comfy_api.latest import io

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
    return io.String.Input(name, **common)


def fixed_seed():
    """What asks the page to keep a seed between two runs; older hosts only know yes or no."""
    known = getattr(io, "ControlAfterGenerate", None)
    return True if known is None else known.fixed
