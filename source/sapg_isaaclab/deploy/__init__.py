"""A trained policy outside of training: one file that needs neither a simulator nor the training code."""

from sapg_isaaclab.deploy.policy import Policy, load_policy

__all__ = ["Policy", "load_policy"]
