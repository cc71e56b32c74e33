"""Errors that say memory ran out, in the words of every device, and a run that meets them."""

from __future__ import annotations

import numpy
import pytest
import torch

from textual_inversion.tests.unit.test_trainer import finish, trainer
from textual_inversion.tests.unit.toy_world import KEY, ToyDenoiser
from textual_inversion.training.events import SteppedDown
from textual_inversion.training.shortage import is_out_of_memory
from textual_inversion.training.trainer import TrainingError

TOO_MUCH = 1 << 60


def raised_by(action) -> Exception:
    """What this machine's own allocators raise."""
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


def with_code(code: int) -> Exception:
    error = torch.AcceleratorError("CUDA error: something")
    error.error_code = code
    return error


SHORTAGES = {
    "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "an older torch": torch.cuda.OutOfMemoryError("no room"),
    "this CPU": raised_by(lambda: torch.empty(TOO_MUCH)),
    "this numpy": raised_by(lambda: numpy.empty(TOO_MUCH, numpy.uint8)),
    "Python": MemoryError(),
    "a CPU on Windows": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory: you "
        "tried to allocate 8 bytes."
    ),
    "an accelerator": torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might"),
    "an accelerator's number": with_code(2),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 8 GB, max allowed: 9 GB)."),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
    "C++": RuntimeError("std::bad_alloc"),
    "DirectML": RuntimeError(
        "Could not allocate tensor with 8 bytes. There is not enough GPU video memory available!"
    ),
}
OTHERS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x8 and 9x4)"),
    RuntimeError("Placeholder storage has not been allocated on MPS device!"),
    RuntimeError("Trying to backward through the graph a second time"),
    RuntimeError("Inference tensors cannot be saved for backward."),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    with_code(700),
    ValueError("a caption that is out of memory"),
    TrainingError("No gradient reaches the vectors of clip_l"),
    KeyboardInterrupt(),
]


def test_the_cpus_own_error_is_no_class_of_its_own():
    assert type(SHORTAGES["this CPU"]) is RuntimeError
    assert "DefaultCPUAllocator" in str(SHORTAGES["this CPU"])
    assert isinstance(SHORTAGES["this numpy"], MemoryError)


@pytest.mark.parametrize("who", SHORTAGES)
def test_a_shortage_is_recognised(who: str):
    assert is_out_of_memory(SHORTAGES[who])


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: str(error)[:30])
def test_another_error_is_not_taken_for_one(error: BaseException):
    assert not is_out_of_memory(error)


def cramped(error: Exception) -> ToyDenoiser:
    denoiser = ToyDenoiser()
    denoiser.room, denoiser.shortage = 1, error
    return denoiser


@pytest.mark.parametrize("who", SHORTAGES)
def test_a_run_goes_on_in_less_memory_whoever_says_so(who: str):
    events = list(trainer(denoiser=cramped(SHORTAGES[who]), steps=5).run())
    assert sum(isinstance(event, SteppedDown) for event in events) == 2
    assert torch.allclose(events[-1].vectors[KEY], finish(trainer(steps=5)).vectors[KEY], atol=1e-5)


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: str(error)[:30])
def test_a_run_passes_another_error_on(error: BaseException):
    run = trainer(denoiser=cramped(error), steps=5)
    with pytest.raises(type(error)) as caught:
        list(run.run())
    assert caught.value is error and not run.denoiser.saving_memory


def test_the_host_may_know_more():
    run = trainer(denoiser=cramped(OTHERS[0]), steps=5)
    run.ran_out = OTHERS[0].__eq__
    assert sum(isinstance(event, SteppedDown) for event in run.run()) == 2


class NarrowDenoiser(ToyDenoiser):
    """Finds room for so many pictures in the probe bank's passes too."""

    def denoise(self, noisy, sigmas, text, frames=()):
        if not torch.is_grad_enabled() and noisy.shape[0] > self.room:
            raise self.shortage
        return super().denoise(noisy, sigmas, text, frames)


def narrow(room: int, error: BaseException) -> ToyDenoiser:
    denoiser = NarrowDenoiser()
    denoiser.room, denoiser.shortage = room, error
    return denoiser


def test_the_probe_bank_is_measured_one_by_one_where_it_must():
    run = trainer(denoiser=narrow(2, SHORTAGES["this CPU"]), steps=5, batch_size=1)
    down = [event for event in run.run() if isinstance(event, SteppedDown)]
    assert [event.how for event in down] == [
        "memory ran out: the probe bank is now measured one by one"
    ]
    assert run.curve[0][1] == pytest.approx(first_loss(), rel=1e-6)


def first_loss() -> float:
    run = trainer(steps=5, batch_size=1)
    finish(run)
    return run.curve[0][1]


def test_a_run_is_resumed_where_the_probe_bank_does_not_fit_at_once():
    half = trainer(denoiser=narrow(2, SHORTAGES["this CPU"]), steps=5, batch_size=1)
    for event in half.run():
        if type(event).__name__ == "Stepped" and event.step == 3:
            break
    again = trainer(denoiser=narrow(2, SHORTAGES["this CPU"]), steps=5, batch_size=1)
    assert again.resume(half.state_dict()) and again.steps_done == 3


def test_a_probe_bank_that_never_fits_ends_in_one_sentence():
    with pytest.raises(TrainingError, match="not enough memory"):
        finish(trainer(denoiser=narrow(0, SHORTAGES["this CPU"]), steps=5))
    with pytest.raises(RuntimeError, match="mat1") as caught:
        finish(trainer(denoiser=narrow(0, OTHERS[0]), steps=5))
    assert caught.value is OTHERS[0]
