"""Films of a run: which steps are drawn, what it may cost, and that training does not notice."""

import io
import sys

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_metrics import FakeWandb
from test_trainer import make_trainer

from same_state import assert_same_state
from sapg_isaaclab.runs import metrics
from sapg_isaaclab.runs.files import remove_leftovers
from sapg_isaaclab.runs.video import VideoFile, animation
from sapg_isaaclab.training import clips as clips_module
from sapg_isaaclab.training.clips import Clips


class Stage:
    """Gives pictures and keeps the time: a step takes 0.1 s, a picture ``cost_s`` more."""

    def __init__(self, cost_s=0.0):
        self.cost_s, self.now_s, self.steps, self.drawn = cost_s, 0.0, 0, []

    def draw(self, env_index):
        self.now_s += self.cost_s
        self.drawn.append((self.steps, env_index))
        return np.full((16, 24, 3), (40 * env_index + self.steps) % 256, dtype=np.uint8)

    def clips(self, folder, **options):
        return Clips(folder, self.draw, block_size=2, clock=lambda: self.now_s, **{"control_rate": 30.0, **options})

    def run(self, clips, steps, leader=0):
        for _ in range(steps):
            self.steps += 1
            self.now_s += 0.1
            clips.step(self.steps // 4, leader)


def test_every_second_step_of_a_clip_is_drawn_at_30_hz(tmp_path):
    stage = Stage()
    clips = stage.clips(tmp_path / "videos", length=5, interval=8)
    stage.run(clips, 12)
    assert [step for step, _ in stage.drawn] == [1, 3, 5, 9, 11]
    (clip,) = clips.finished()
    assert clip.path.name == "iteration_000000_leader.mp4" and clip.tag == "Video/leader"
    assert imageio.imread(clip.path).shape == (3, 16, 24, 3) and imageio.immeta(clip.path)["fps"] == 15.0
    assert clip.size == (8, 12) and imageio.imread(clip.preview, extension=".gif").shape == (3, 8, 12, 3)
    clips.end()  # the second one is short: the run has ended
    assert imageio.imread(clips.finished()[0].path).shape[0] == 2 and not clips.finished()
    assert sorted(path.name for path in clips.folder.iterdir()) == [
        "iteration_000000_leader.mp4",
        "iteration_000002_leader.mp4",
    ]


def test_the_first_environments_of_the_blocks_are_filmed_side_by_side(tmp_path):
    stage = Stage()
    clips = stage.clips(tmp_path, length=1, interval=4, blocks=[0, 3], control_rate=60.0)
    stage.run(clips, 1)
    (clip,) = clips.finished()
    assert stage.drawn == [(1, 0), (1, 6)] and clip.path.name == "iteration_000000_block_0_3.mp4"
    picture = imageio.imread(clip.path)[0].astype(int)
    assert picture.shape == (16, 48, 3) and abs(picture[:, :24].mean()) < 10 and abs(picture[:, 24:].mean() - 240) < 10


def test_the_leader_of_the_moment_is_filmed(tmp_path):
    stage = Stage()
    clips = stage.clips(tmp_path, length=2, interval=4)
    stage.run(clips, 1, leader=1)
    stage.run(clips, 3, leader=2)  # takes over in the middle of a clip
    stage.run(clips, 1, leader=2)
    assert stage.drawn == [(1, 2), (5, 4)]


@pytest.mark.parametrize("cost_s", [0.001, 0.2, 5.0])
def test_filming_takes_at_most_three_percent_of_the_time(tmp_path, cost_s, monkeypatch):
    stage = Stage(cost_s)
    monkeypatch.setattr(VideoFile, "append", lambda *_: None)
    monkeypatch.setattr(clips_module, "animation", lambda *_: b"")
    clips = stage.clips(tmp_path, length=20)
    stage.run(clips, 2000)
    assert len(stage.drawn) == 10  # one clip, at the beginning
    stage.run(clips, 98_000)
    assert clips.spent_s == pytest.approx(len(stage.drawn) * cost_s)
    assert clips.spent_s <= 0.03 * stage.now_s
    # as many as that allows: 2000 steps are 200 s, of which 3 % are 6 s; a clip costs 0.01, 2 or 50 s
    starts = [step for step, _ in stage.drawn[::10]]
    assert all(later - earlier >= 2000 for earlier, later in zip(starts, starts[1:]))
    assert len(starts) == {0.001: 50, 0.2: 50, 5.0: 6}[cost_s]


def test_what_cannot_be_drawn_or_written_is_reported_and_training_goes_on(tmp_path, capsys):
    def draw(env_index):
        raise OSError("no display")

    clips = Clips(tmp_path, draw, control_rate=30.0, block_size=4, length=2, interval=2)
    trainer = make_trainer(tmp_path, 2, clips=clips)
    trainer.train()
    assert trainer.iteration == 2 and not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob(".*"))
    assert "iteration_000000_leader.mp4 failed (no display); training goes on" in capsys.readouterr().err


def test_a_run_that_is_filmed_learns_the_same_and_shows_its_clips(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", wandb := FakeWandb())
    wandb.Video = lambda path, format: (path, format)
    plain = make_trainer(tmp_path / "plain", 4)
    plain.train()
    stage = iter(range(100))
    filmed = make_trainer(tmp_path / "filmed", 4, logger="wandb")
    filmed.clips = Clips(
        filmed.run.path / "videos",
        lambda env_index: np.full((16, 24, 3), 20 * next(stage), dtype=np.uint8),
        control_rate=30.0,
        block_size=4,
        length=6,
        interval=8,
    )
    filmed.train()
    assert_same_state(plain.state_dict()["agent"], filmed.state_dict()["agent"])
    # 16 steps in four iterations: clips begin at steps 1 and 9, and end in the second and fourth
    names = ["iteration_000000_leader.mp4", "iteration_000002_leader.mp4"]
    assert sorted(path.name for path in (filmed.run.path / "videos").iterdir()) == names
    rows = metrics.read(filmed.run)
    assert all("Perf/video_s" in row for row in rows) and "Perf/video_s" not in metrics.read(plain.run)[0]
    events = EventAccumulator(str(filmed.run.path)).Reload()
    shown = events.Images("Video/leader")
    assert [event.step for event in shown] == [rows[1]["env_steps"], rows[3]["env_steps"]]
    assert imageio.imread(shown[0].encoded_image_string, extension=".gif", index=None).shape == (3, 8, 12, 3)
    videos = [row["Video/leader"] for row in wandb.rows if "Video/leader" in row]
    assert videos == [(str(filmed.run.path / "videos" / name), "mp4") for name in names]
    assert capsys.readouterr().out.count("video: ") == 2


def test_a_video_that_is_given_up_leaves_nothing(tmp_path):
    file = VideoFile(tmp_path / "a.mp4", 15.0)
    file.append(np.zeros((16, 16, 3), np.uint8))
    file.discard()
    assert not list(tmp_path.iterdir())
    (tmp_path / ".b.mp4.123.tmp").touch()  # of a process that was killed
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_animations_run_in_real_time():
    frames = [np.full((8, 8, 3), shade, np.uint8) for shade in (0, 100, 200)]
    for suffix, duration in ((".gif", 70), (".webp", 67)):  # 1000 / 15; a GIF counts in tens
        content = animation(frames, 15.0, suffix)
        with Image.open(io.BytesIO(content)) as image:
            assert image.n_frames == 3 and image.size == (8, 8) and image.info["loop"] == 0
            image.seek(1)
            image.load()
            assert image.info["duration"] == duration and abs(np.asarray(image.convert("RGB")).mean() - 100) < 5
