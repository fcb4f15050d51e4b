"""Options of agents: plain values, by algorithm and preset."""

SLIDE = {
    "sapg": {
        "default": {"rollouts": 4, "hidden_sizes": (16,), "mini_batches": 1, "num_blocks": 3},
        "wide": {"hidden_sizes": (32, 32)},
    },
}
