"""Robots and objects of the tasks: tables of facts, the USD files made from them, and their Isaac Lab configurations.

``python -m sapg_isaaclab.assets.generate`` rewrites ``data/*.usda`` from :mod:`sapg_isaaclab.assets.tables`.
"""
