"""A GPU that is not there: its numbers lie on the CPU, and mixing the two is refused all the same.

Within `a_gpu()`, what is moved to `GPU` says that it is there. An operation that is given tensors
of both places raises, but for those that CUDA allows: copies, CPU indices, and single numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

aten = torch.ops.aten
MIXED = {
    *(aten.copy_.default, aten._to_copy.default, aten.index.Tensor, aten.index_put.default),
    *(aten.index_put_.default, aten._index_put_impl_.default),
    *(aten._pack_padded_sequence.default, aten._pack_padded_sequence_backward.default),
}


class Hooks(torch._C._acc.PrivateUse1Hooks):
    """What torch asks of a device; nobody but these tests is to find it."""

    def is_available(self):
        return False

    def has_primary_context(self, index):
        return False

    def is_built(self):
        return False


class Module:
    """`torch.gpu`."""

    def is_initialized(self):
        return True

    def is_available(self):
        return False

    def current_device(self):
        return 0

    def device_count(self):
        return 1

    def _is_in_bad_fork(self):
        return False

    def manual_seed_all(self, seed):
        """Noise is made on the CPU."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("gpu", backend_module=Module(), hook=Hooks())
GPU = torch.device("gpu", 0)


class Pretended(torch.Tensor):
    """A tensor that says it is on the GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, real):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            real.shape,
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=GPU,
            requires_grad=False,
        )

    def __init__(self, real):
        self.numbers = real

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def tolist(self):
        return self.numbers.tolist()

    def __repr__(self):
        return f"Pretended({tuple(self.shape)})"


def run(func, args, kwargs):
    """What an operation gives, where it would lie."""
    given = tree_flatten((args, kwargs))[0]
    flat = [x for x in given if isinstance(x, torch.Tensor)]
    there = [x for x in flat if isinstance(x, Pretended)]
    here = [x for x in flat if not isinstance(x, Pretended) and x.ndim]
    if there and here and func not in MIXED:
        shapes = [tuple(x.shape) for x in flat]
        raise RuntimeError(f"{func}: expected all tensors to be on the same device: {shapes}")
    wanted = [x for x in given if isinstance(x, torch.device)]
    out = func(*tree_map(behind, args), **tree_map(behind, kwargs))
    on_gpu = wanted[0].type == GPU.type if wanted else bool(there)
    if func is aten.copy_.default:
        return args[0]
    if func is aten._pack_padded_sequence.default and there:
        return Pretended(out[0]), out[1]  # lengths stay on the CPU
    if func is aten._local_scalar_dense.default or not on_gpu:
        return out
    known = {id(x.numbers): x for x in there}
    return tree_map(
        lambda x: known.get(id(x), Pretended(x)) if isinstance(x, torch.Tensor) else x, out
    )


def behind(x):
    """What an operation is given on the CPU in place of what it is given."""
    if isinstance(x, torch.device):
        return torch.device("cpu")
    return x.numbers if isinstance(x, Pretended) else x


class Mode(TorchDispatchMode):
    """Sees what is moved to the GPU, or made there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


@contextmanager
def a_gpu() -> Iterator[None]:
    """A process that has one."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # what torch.tensor makes is seen on its way there
    try:
        with Mode():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
