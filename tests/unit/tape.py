"""A stand-in for CUDA graphs on the CPU: it records PyTorch's operations and repeats them.

Like a CUDA graph, a capture leaves every tensor as it was, and a replay runs the same operations
on the same memory, with the Python numbers of the capture. An operation that reads a value back is
an error.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

READS_BACK = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
}
# Its schema does not tell that it changes the running statistics.
CHANGES_UNTOLD = {torch.ops.aten.native_batch_norm.default}


def tensors_of(values):
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_of(value)
    return found


def storage_of(tensor):
    return tensor.untyped_storage().data_ptr()


class Tape(TorchDispatchMode):
    """Records the operations of a `with` block; `captures` undoes what they changed."""

    def __init__(self):
        super().__init__()
        self.operations, self.saved = [], {}

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in READS_BACK:
            raise RuntimeError(f"{function} reads from the device")
        given = tensors_of([*args, *kwargs.values()])
        if function._schema.is_mutable or function in CHANGES_UNTOLD:
            for tensor in given:
                self.save(tensor)
        result = function(*args, **kwargs)
        mine = {storage_of(tensor) for tensor in given}
        made = tensors_of([result])
        fresh = [tensor for tensor in made if storage_of(tensor) not in mine]
        self.operations.append((function, args, kwargs, made, fresh))
        return result

    def save(self, tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.saved:
            self.saved[storage.data_ptr()] = storage, storage.clone()

    def replay(self):
        with torch.no_grad():
            for function, args, kwargs, made, fresh in self.operations:
                again = tensors_of([function(*args, **kwargs)])
                for earlier, new in zip(made, again, strict=True):
                    if any(earlier is one for one in fresh):
                        earlier.copy_(new)


def tape_capture(function):
    """Takes the place of `ssd.common.graph.CudaCapture`."""
    tape = Tape()
    with tape:
        result = function()
    for storage, before in tape.saved.values():
        storage.copy_(before)
    return tape.replay, result
