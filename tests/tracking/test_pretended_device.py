"""The pretended CUDA device refuses what a GPU refuses, and replays what a GPU replays."""

from __future__ import annotations

import threading

import pytest
import torch

from tests.tracking.pretended_device import PretendedDevice, Refused


def capture(work, stream=None, **options):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, **options):
        work()
    return graph


@pytest.mark.parametrize(
    ("work", "refused"),
    [
        (lambda x, mask: x.add_(1.0), ""),
        (lambda x, mask: x.copy_(torch.where(mask, 5.0, x)), ""),
        (lambda x, mask: x.add_(torch.arange(4, device=x.device)), ""),
        (lambda x, mask: x.index_fill_(0, torch.arange(2, device=x.device), 2.0), ""),
        (lambda x, mask: x.add_(torch.tensor([1.0] * 4, device=x.device)), "copy: pageable cpu to cuda"),
        (lambda x, mask: x.__setitem__(torch.arange(2, device=x.device), 0.0), "copy: pageable cpu to cuda"),
        (lambda x, mask: x.__setitem__(mask, 1.0), "copy: pageable"),
        (lambda x, mask: x[mask], "wait: index"),
        (lambda x, mask: x.__setitem__([0, 1], 1.0), "copy: pageable"),
        (lambda x, mask: x.add_(float(x.sum())), "wait: __float__"),
        (lambda x, mask: x.index_fill_(0, mask.nonzero().flatten(), 2.0), "wait: nonzero"),
        (lambda x, mask: x.copy_(x.cpu()), "copy: pageable cuda to cpu"),
        (lambda x, mask: torch.zeros(4, pin_memory=True), "allocate: pinned"),
        (lambda x, mask: torch.cuda.synchronize(), "wait: synchronize"),
        (lambda x, mask: x.normal_(), "random: normal_"),
    ],
)
def test_what_cannot_be_captured_is_refused(work, refused):
    with PretendedDevice() as device, torch.inference_mode():
        x, mask = torch.zeros(4, device="cuda"), torch.tensor([True, False, True, True], device="cuda:0")
        work(x, mask)
        if refused:
            with pytest.raises(Refused, match=f"when stream is capturing: {refused}"):
                capture(lambda: work(x, mask))
            return
        once = x.tolist()
        graph = capture(lambda: work(x, mask))
        assert x.tolist() == once and device.graphs == [graph], "capturing computes nothing"
        work(x, mask)
        expected = x.tolist()
        x.copy_(torch.tensor(once))
        graph.replay()
        assert x.tolist() == expected


def test_a_replay_runs_no_python():
    with PretendedDevice(), torch.inference_mode():
        x, calls = torch.zeros(1, device="cuda:0"), []
        graph = capture(lambda: (calls.append(1), x.add_(1.0)))
        graph.replay()
        graph.replay()
        assert (calls, x.tolist()) == ([1], [2.0])


@pytest.mark.parametrize(
    "work",
    [
        lambda x, other: x + torch.ones(4),
        lambda x, other: x.index_select(0, torch.tensor([1])),
        lambda x, other: x + other,
        lambda x, other: x.index_copy_(0, torch.arange(4, device=other.device), x),
    ],
)
def test_operands_on_two_devices_are_refused(work):
    with PretendedDevice(2):
        x, other = torch.zeros(4, device="cuda:0"), torch.zeros(4, device="cuda:1")
        with pytest.raises(Refused, match="same device"):
            work(x, other)
        x.copy_(other)


def test_there_is_a_current_device():
    with PretendedDevice(2) as device:
        device.free[1] = 7
        assert torch.zeros(1, device="cuda").device == torch.device("cuda:0")
        with torch.cuda.device("cuda:1"):
            assert (torch.cuda.current_device(), torch.cuda.mem_get_info()[0]) == (1, 7)
            assert torch.zeros(1, device="cuda").device == torch.device("cuda:1")
            assert torch.cuda.Stream().device == torch.device("cuda:1")
        assert torch.cuda.current_device() == 0
        with pytest.raises(Refused, match="invalid device ordinal"):
            torch.zeros(1, device="cuda:2")


def test_a_stream_captures_work_on_its_own_device_only():
    """On another device the work is done at once, and the graph is empty, without an error."""
    with PretendedDevice(2), torch.inference_mode():
        x = torch.zeros(1, device="cuda:1")
        graph = capture(lambda: x.add_(1.0))
        assert (x.tolist(), graph.nodes) == ([1.0], [])
        with torch.cuda.device(1):
            graph = capture(lambda: x.add_(1.0), torch.cuda.Stream())
        assert (x.tolist(), len(graph.nodes)) == ([1.0], 1)


@pytest.mark.parametrize("mode, refused", [("global", True), ("thread_local", False)])
def test_other_threads_disturb_a_global_capture_only(mode, refused):
    with PretendedDevice() as device:

        def work():
            thread = threading.Thread(target=torch.cuda.synchronize)
            thread.start()
            thread.join()

        if refused:
            with pytest.raises(Refused, match="a call of another thread"):
                capture(work, capture_error_mode=mode)
        else:
            capture(work, capture_error_mode=mode)
        assert len(device.graphs) == (not refused)
