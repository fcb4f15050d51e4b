"""Comparing what two trainers would save."""

import torch


def flatten(value, prefix=""):
    """Leaves of nested dictionaries and lists by path."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}/{key}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for key, item in enumerate(value) for k, v in flatten(item, f"{prefix}/{key}").items()}
    return {prefix: value}


def assert_same_state(first, second):
    first, second = flatten(first), flatten(second)
    assert first.keys() == second.keys()
    for key, value in first.items():
        if "wall_time_s" in key or key.startswith("/trainer"):
            continue
        same = torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
        assert same, key
