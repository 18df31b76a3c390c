"""Runs a function on a GPU as a CUDA graph: hundreds of kernels for the price of one launch.

A graph is captured once and then replayed. A replay runs the same kernels on the same addresses,
and no Python. So the function may change tensors that outlive it, such as weights, but has to do so
in place. It must not read anything back, and its result may only depend on shapes and on the values
of tensors. Every set of shapes has a graph of its own.

Source: "CUDA graphs" in PyTorch's notes on CUDA semantics.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from ssd.common.errors import one_line
from ssd.common.tensors import changed, tensors_in

MOST_GRAPHS = 16  # each keeps its inputs; further shapes run plainly

Inputs = TypeVar("Inputs")
Result = TypeVar("Result")
Replay = Callable[[], object]
Capture = Callable[[Callable[[], Any]], tuple[Replay, Any]]
Shapes = tuple[tuple[torch.Size, torch.dtype], ...]


class Graphs(Generic[Inputs, Result]):
    """A function of tensors that runs plainly when it meets shapes first, and then as a graph.

    The plain run compiles what has to be compiled, and makes the optimizer's state.

    Args:
        function: takes and returns tensors in dataclasses, lists and dicts.
        say: takes a line if a graph cannot be captured; all runs are plain from then on.
        capture: runs a function for later replays; returns the replay and the function's result.
    """

    def __init__(
        self,
        function: Callable[[Inputs], Result],
        say: Callable[[str], None],
        capture: Capture | None = None,
    ) -> None:
        self._function, self._say, self._capture = function, say, capture or CudaCapture()
        self._graphs: dict[Shapes, Graph | None] = {}
        self._inputs: dict[tuple[int, torch.Size, torch.dtype], Tensor] = {}
        self._failed = False

    def __call__(self, inputs: Inputs) -> Result:
        """The function's result; no later call changes its tensors."""
        given = tensors_in(inputs)
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in given)
        known = shapes in self._graphs
        if not known and len(self._graphs) < MOST_GRAPHS:
            self._graphs[shapes] = None
        if self._failed or not known:
            return self._function(inputs)
        if self._graphs[shapes] is None:
            self._try_to_capture(shapes, inputs)
        graph = self._graphs.get(shapes)
        if graph is None:
            return self._function(inputs)
        for own, tensor in zip(graph.inputs, given, strict=True):
            own.copy_(tensor, non_blocking=True)
        graph.replay()
        result: Result = copied(graph.result)
        return result

    def _try_to_capture(self, shapes: Shapes, inputs: Inputs) -> None:
        """Captures the graph of these shapes; if that fails, there are no graphs from then on.

        When this returns, the error is gone, and with it the memory of the unfinished run.
        """
        try:
            self._graphs[shapes] = self._captured(inputs)
        except RuntimeError as error:  # CUDA's errors are of this type, out of memory included
            self._failed = True
            self._graphs.clear()
            self._inputs.clear()
            self._say(f"no CUDA graph, so steps are slower: {one_line(error)[:200]}")

    def _captured(self, inputs: Inputs) -> Graph:
        """The function's graph for inputs of these shapes."""
        places = iter(range(len(tensors_in(inputs))))

        def kept(tensor: Tensor) -> Tensor:
            """A tensor for the graphs to read; they share it, since they run one by one."""
            key = next(places), tensor.shape, tensor.dtype
            if key not in self._inputs:
                self._inputs[key] = tensor.clone()
            return self._inputs[key]

        own: Inputs = changed(inputs, kept)
        replay, result = self._capture(lambda: self._function(own))
        return Graph(tensors_in(own), replay, result)


class Graph(NamedTuple):
    """A captured run: the tensors that it reads, its replay, and the result that this writes."""

    inputs: list[Tensor]
    replay: Replay
    result: Any


class CudaCapture:
    """Captures CUDA graphs that share their memory, since they run one after the other."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], Any]) -> tuple[Replay, Any]:
        """The replay of the function and the result, whose tensors each replay writes anew."""
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        try:
            # Other threads may use the GPU meanwhile: to write checkpoints, and for the backward.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                result = function()
        except RuntimeError:
            # If CUDA refuses to end the capture, PyTorch stays on the capture's stream, and its
            # allocator keeps what other streams have used until the capture ends.
            torch.cuda.set_stream(stream)
            with suppress(RuntimeError):  # it has ended
                torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self._pool)
            raise
        return graph.replay, result


def copied(value: Any) -> Any:
    """The same value with copies of all its tensors, in their memory formats."""
    return changed(value, torch.clone)
