from __future__ import annotations
import time
import pytest
from bamboo_sessions.testing.power_cut import WORST
from tests.crash.recovery import Judge, cut_everywhere, record

@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_all(durability):
    """x"""
    t=time.time()
    r = record(durability, seed=1, rounds=3)
    print(len(r.operations), len(r.moments), time.time()-t)
    print([str(o) for o in r.operations if o.kind!='write'])
    for s in WORST:
        t=time.time()
        j = Judge(r)
        w = cut_everywhere(j, [s])
        print(s.name, j.cuts, len(j.seen), time.time()-t, w[:1])
