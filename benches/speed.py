"""The same portfolio by Monte Carlo in numpy: CPU time to a standard error of 1 % in ES99.9.

Reads the blocks and the exact figures that the Rust side printed. The draws that the standard error
takes follow from the variance of the tail that is found; the time of as many follows from the time
measured, by the 1/n law. The seed is fixed.
"""
import json
import sys
import time

import numpy as np

DRAWS = 400_000
BATCH = 50_000
LEVEL = 0.999
WANTED = 0.01

blocks = json.load(open(sys.argv[1]))
exact = json.load(open(sys.argv[2]))
rng = np.random.Generator(np.random.SFC64(7))


def batch(n):
    """Losses of n years, bp: an event happens if an exponential falls below its rate."""
    climate = rng.standard_exponential(n, dtype=np.float32)
    loss = np.zeros(n)
    for block in blocks:
        bound = np.float32(block["lam"]) * (
            np.float32(1 - block["beta"]) + np.float32(block["beta"]) * climate
        )
        hit = np.flatnonzero(rng.standard_exponential(n, dtype=np.float32) < bound)
        sizes, weights = zip(*block["losses"])
        loss[hit] += np.asarray(sizes)[
            np.searchsorted(np.cumsum(weights[:-1]), rng.random(hit.size), side="right")
        ]
    return np.minimum(loss, 10_000)


start = time.process_time()
losses = np.concatenate([batch(BATCH) for _ in range(DRAWS // BATCH)])
cpu = time.process_time() - start
value_at_risk = np.quantile(losses, LEVEL)
tail = losses[losses >= value_at_risk]
shortfall = tail.mean()
# Of the estimator of an expected shortfall: (Var(L | tail) + level (ES - VaR)^2) / (n (1 - level)).
variance = tail.var() + LEVEL * (shortfall - value_at_risk) ** 2
needed = variance / ((1 - LEVEL) * (WANTED * shortfall) ** 2)
error = np.sqrt(variance / ((1 - LEVEL) * DRAWS))
distance = (shortfall - exact["expectedShortfall999Bp"]) / error
print(f"{DRAWS} draws: ES99.9 {shortfall:.1f} bp, {distance:+.2f} standard errors from the exact", file=sys.stderr)
ratio = cpu * needed / DRAWS / exact["exactCpuSeconds"]
print(json.dumps({
    **exact,
    "simulatedDraws": DRAWS,
    "simulatedCpuSeconds": cpu,
    "drawsForOnePercent": round(needed),
    "cpuSecondsForOnePercent": cpu * needed / DRAWS,
    "ratioToMonteCarlo": ratio,
    "standardErrorsApart": distance,
    "numpy": np.__version__,
}))
sys.exit(0 if abs(distance) < 4 else 4)
