"""Optical flow methods: `FLOW_METHODS[name](**options)` returns a function.

That function takes frames uint8 (T, H, W, 3) RGB, T >= 2, and returns flow float32 (T-1, H, W, 2):
(u right, v down), pixels per frame; `flow[t]` leads from frame t to frame t+1. It raises ValueError
for frames of another kind. The frames of a long video come in several calls that share one frame,
perhaps from several threads at one time.

It may carry two attributes: `pixels_at_once`, of all frame pairs that it wants in one call, where
that is not a few; and `form`, the name of an algorithm of its own on a device, which is recorded
with the flow. A method that runs on several devices has an option `device`, which is not recorded.
"""

from __future__ import annotations

from flow_extract.methods.opencv import make_dis, make_farneback
from flow_extract.methods.raft import make_raft
from flow_extract.methods.tvl1 import make_tvl1, make_tvl1_fast

FLOW_METHODS = {
    "dis": make_dis,
    "farneback": make_farneback,
    "tvl1": make_tvl1,
    "tvl1-fast": make_tvl1_fast,
    "raft": make_raft,
}
