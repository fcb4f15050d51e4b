"""The smallest task: what CONTRIBUTING asks of one, and the line that registers it."""

import gymnasium as gym

gym.register(
    "Test-Slide",
    entry_point="slide.env:SlideEnv",
    disable_env_checker=True,
    kwargs={"env_cfg_entry_point": "slide.env_cfg:SlideEnvCfg", "agent_options_entry_point": "slide.agents:SLIDE"},
)
