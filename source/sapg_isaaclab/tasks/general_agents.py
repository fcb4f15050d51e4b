"""Options of every algorithm for tasks that bring none of their own; named as ``ALGORITHMS`` of the training says."""

from sapg_isaaclab.tasks.agent_presets import dexpbt_presets, pql_presets, sapg_presets

sapg = sapg_presets("", {})
dexpbt = dexpbt_presets("", {})
pql = pql_presets("", {})
