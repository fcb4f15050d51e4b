"""SAPG (Split and Aggregate Policy Gradients) for Isaac Lab 3.0.

Importing this package registers its tasks with Gymnasium. Registration is strings only: neither torch nor
Isaac Lab is imported until an environment is made.
"""

from sapg_isaaclab.tasks import register_tasks

__version__ = "0.1.0"

register_tasks()
