"""In-hand reorientation: a fixed hand turns a cube on its palm to goal orientations."""
