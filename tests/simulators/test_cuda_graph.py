"""Work that a CUDA device replays: captured once, checked once, and eager where either fails."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch

from parc_ray.simulators.cuda_graph import GraphedCall, WrittenRegions
from tests.tracking import pretended_device
from tests.tracking.pretended_device import PretendedDevice


def numbers(device):
    return torch.arange(6.0, device=device).view(3, 2), torch.tensor([2, 0], device=device)


def work_on(x, rows, total):
    """Work that reads what it writes, in all the ways that recording does."""

    def work():
        scaled = (x * 0.5).add_(1.0)  # in place, on memory of its own
        x.index_copy_(0, rows, scaled.index_select(0, rows))
        total.add_(x.sum(0))
        x[1:, 0].mul_(2.0)

    return work


def results(device, calls):
    with torch.inference_mode():
        x, rows = numbers(device)
        total = torch.zeros(2, device=device)
        call = GraphedCall(work_on(x, rows, total), x.device)
        for _ in range(calls):
            call()
        return x.tolist(), total.tolist()


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1", "cuda"])
def test_replays_compute_what_eager_calls_compute(device):
    expected = results("cpu", 7)
    with PretendedDevice(2) as pretended, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert results(device, 7) == expected
    assert pretended.started["launch: graph"] == 5, "the first two are eager, the third is checked, too"
    assert not [what for what in pretended.captured if ":" in what]


def refuse(*arguments, **options):
    raise RuntimeError("operation not permitted")


@pytest.mark.parametrize("fault", ["empty", "wrong", "refused"])
def test_a_graph_that_is_not_the_work_is_never_used(monkeypatch, fault):
    expected = results("cpu", 7)

    class Faulty(pretended_device.Graph):
        def replay(self):
            if fault == "empty":
                self.nodes.clear()
            else:
                del self.nodes[-1]
            super().replay()

    if fault != "refused":
        monkeypatch.setattr(pretended_device, "Graph", Faulty)
    with PretendedDevice() as pretended:
        if fault == "refused":
            monkeypatch.setattr(torch.cuda, "graph", refuse)
        with pytest.warns(UserWarning, match="without a CUDA graph on cuda:0, and is slower") as told:
            assert results("cuda:0", 7) == expected
    reason = "operation not permitted" if fault == "refused" else "its replay differs from the same work"
    assert len(told) == 1 and reason in str(told[0].message)
    assert pretended.started["launch: graph"] == (0 if fault == "refused" else 1)


def test_engines_may_call_cuda_in_other_threads_meanwhile():
    with PretendedDevice(), warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("error")
        x = torch.zeros(1, device="cuda:0")

        def work():
            thread = threading.Thread(target=torch.cuda.synchronize)
            thread.start()
            thread.join()
            x.add_(1.0)

        call = GraphedCall(work, x.device)
        for _ in range(4):
            call()
        assert x.tolist() == [4.0]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_written_regions_are_all_that_work_changes(context):
    with context():
        x, rows = numbers("cpu")
        total, wide = torch.zeros(2), torch.zeros(1000, 2)
        before = [part.clone() for part in (x, total, wide)]
        work = work_on(x, rows, total)
        with WrittenRegions() as written:
            work()
            wide.index_copy_(0, rows, x[:2])
            wide.index_fill_(0, rows[:1], 7.0)
        after = [part.clone() for part in (x, total, wide)]
        values = written.read()
        assert max(part.numel() for part in values) <= 6, "of a large buffer only the rows that are written"
        written.restore()
        assert all(torch.equal(*pair) for pair in zip((x, total, wide), before))
        written.write(values)
        assert all(torch.equal(*pair) for pair in zip((x, total, wide), after))
