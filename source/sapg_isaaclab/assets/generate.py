"""Rewrites ``data/*.usda`` from the tables: ``python -m sapg_isaaclab.assets.generate``."""

from __future__ import annotations

from pathlib import Path

from sapg_isaaclab.assets.tables import ALL_TABLES
from sapg_isaaclab.assets.usd import write

DATA_DIR = Path(__file__).resolve().parent / "data"
"""Folder of the generated files."""


def main() -> None:
    """Write one ``.usda`` file per table."""
    DATA_DIR.mkdir(exist_ok=True)
    for asset in ALL_TABLES:
        path = DATA_DIR / f"{asset.name}.usda"
        path.write_text(write(asset), encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
