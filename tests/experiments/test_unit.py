"""The unit of processor time."""

import torch

from wkd_det.experiments.unit import unit_cpu_seconds


def test_the_unit_is_processor_time_and_leaves_threads_and_gradients_as_they_are():
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    with torch.no_grad():
        assert 0 < unit_cpu_seconds(1) < 60
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
