"""Returns and advantages of a rollout. Pure functions of tensors shaped (T, N): T steps of N environments.

A step is *done* when it is terminated (the task ended) or truncated (time ran out). In both cases the next recorded
state belongs to another episode, so every function here cuts the chain at a done.
"""

from __future__ import annotations

import torch


def gae(
    rewards: torch.Tensor,
    values: torch.Tensor,
    next_value: torch.Tensor,
    terminated: torch.Tensor,
    truncated: torch.Tensor,
    *,
    gamma: float,
    lam: float,
    bootstrap: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation (Schulman et al., 2016), the on-policy estimator of the official code.

    Args:
        rewards: Rewards r_t. Shape (T, N).
        values: Values V(s_t) before the step. Shape (T, N).
        next_value: Value V(s_T) of the state after the last step. Shape (N,).
        terminated: Whether step t ended the task, boolean. Shape (T, N).
        truncated: Whether step t ran out of time, boolean. Shape (T, N).
        gamma: Discount factor.
        lam: Trace decay, tau in the paper's tables.
        bootstrap: Value that stands in for the next value where a step is truncated and not terminated. Shape (T, N).
            Without it a truncated step ends the return as a termination does.

    Returns:
        Advantages and returns (advantages + values), both of shape (T, N).
    """
    rewards = bootstrapped_rewards(rewards, terminated, truncated, gamma=gamma, bootstrap=bootstrap)
    alive = (terminated | truncated).logical_not().to(values.dtype)
    next_values = torch.cat((values[1:], next_value[None]))
    deltas = rewards + gamma * alive * next_values - values
    decay = gamma * lam * alive
    advantages = torch.empty_like(deltas)
    carry = torch.zeros_like(next_value)
    for t in range(deltas.shape[0] - 1, -1, -1):
        carry = torch.addcmul(deltas[t], decay[t], carry)
        advantages[t] = carry
    return advantages, advantages + values


def n_step_returns(
    rewards: torch.Tensor,
    values: torch.Tensor,
    next_value: torch.Tensor,
    terminated: torch.Tensor,
    truncated: torch.Tensor,
    *,
    gamma: float,
    n: int,
    bootstrap: torch.Tensor | None = None,
) -> torch.Tensor:
    """n-step returns, Eq. 5 of the paper (n = 3).

    The window of step t ends at the first done (nothing is bootstrapped beyond it) or, near the end of the rollout, at
    the horizon, where ``next_value`` bootstraps a shorter window.

    Args:
        rewards: Rewards r_t. Shape (T, N).
        values: Values V(s_t) before the step. Shape (T, N).
        next_value: Value V(s_T) of the state after the last step. Shape (N,).
        terminated: Whether step t ended the task, boolean. Shape (T, N).
        truncated: Whether step t ran out of time, boolean. Shape (T, N).
        gamma: Discount factor.
        n: Window length, at least 1.
        bootstrap: As in :func:`gae`. Shape (T, N).

    Returns:
        Returns of shape (T, N).

    Raises:
        ValueError: If ``n`` is smaller than 1.
    """
    if n < 1:
        raise ValueError(f"n_step is {n}; it must be at least 1")
    rewards = bootstrapped_rewards(rewards, terminated, truncated, gamma=gamma, bootstrap=bootstrap)
    alive = (terminated | truncated).logical_not().to(values.dtype)
    chain = torch.cat((values, next_value[None]))  # row t: value that ends a window reaching step t
    # Unrolling the window from its far end: G^(1)_t = r_t + gamma V_{t+1}, G^(k)_t = r_t + gamma G^(k-1)_{t+1}.
    # Beyond the horizon there is only next_value, which makes the windows of the last steps shorter.
    returns = chain
    for _ in range(n):
        returns = torch.cat((rewards + gamma * alive * returns[1:], next_value[None]))
    return returns[:-1]


def one_step_targets(
    rewards: torch.Tensor, values: torch.Tensor, next_value: torch.Tensor, done: torch.Tensor, *, gamma: float
) -> torch.Tensor:
    """One-step targets of off-policy rows, Eq. 6 of the paper: r_t + gamma V(s_{t+1}), without V after a done.

    The values must be those of the policy being updated (the leader), not of the policy that acted.

    Args:
        rewards: Rewards r_t; add time-out bootstraps with :func:`bootstrapped_rewards` beforehand. Shape (T, N).
        values: Values V(s_t) under the policy being updated. Shape (T, N).
        next_value: Value V(s_T) of the state after the last step. Shape (N,).
        done: Whether step t ended an episode for either reason, boolean. Shape (T, N).
        gamma: Discount factor.

    Returns:
        Targets of shape (T, N).
    """
    next_values = torch.cat((values[1:], next_value[None]))
    return rewards + gamma * done.logical_not().to(values.dtype) * next_values


def bootstrapped_rewards(
    rewards: torch.Tensor,
    terminated: torch.Tensor,
    truncated: torch.Tensor,
    *,
    gamma: float,
    bootstrap: torch.Tensor | None,
) -> torch.Tensor:
    """Rewards with the discounted bootstrap value added where a step was truncated and not terminated.

    Args:
        rewards: Rewards r_t. Shape (T, N).
        terminated: Whether step t ended the task, boolean. Shape (T, N).
        truncated: Whether step t ran out of time, boolean. Shape (T, N).
        gamma: Discount factor.
        bootstrap: Value of the state in which time ran out, read only at truncated steps. Shape (T, N).

    Returns:
        Rewards of shape (T, N); the input itself when there is no bootstrap.
    """
    if bootstrap is None:
        return rewards
    # where, not a product with a mask: what stands in the rows that are not read may be NaN
    return torch.where(truncated & terminated.logical_not(), rewards + gamma * bootstrap, rewards)
