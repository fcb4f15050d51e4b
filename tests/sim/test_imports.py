"""Environments start without what few of them need, and those that need it get it."""

import subprocess
import sys

CODE = """
import sys
import sapg_isaaclab.tasks.in_hand.env_cfg, sapg_isaaclab.tasks.allegro_kuka.env_cfg, sapg_isaaclab.tasks.base
print([name for name in ("moviepy.editor", "moviepy.video.VideoClip", "matplotlib.pyplot") if name in sys.modules])
import numpy
from isaaclab.envs.utils import video_recorder
frames = [numpy.full((4, 6, 3), value, dtype=numpy.uint8) for value in (1, 2)]
clip = video_recorder.ImageSequenceClip(frames, fps=2)
print(clip.duration, clip.get_frame(0.6).max(), hasattr(clip, "write_videofile"))
"""


def test_moviepy_waits_for_the_first_clip():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert result.stdout.splitlines()[-2:] == ["[]", "1.0 2 True"], result.stderr
