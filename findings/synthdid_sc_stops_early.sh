#!/usr/bin/env bash
# synthdid-py 0.1.0: `sc_estimate` with its defaults is not the synthetic control that minimises the error before.
#
# On California's Proposition 99 (the package ships the data) the default gives -19.62, the figure that is published
# to one digit (Arkhangelsky et al. 2021, table 1: -19.6). Frank-Wolfe has stopped there before it converged: with
# smaller steps allowed it goes on to -19.52, and a solver of the same quadratic problem ends at -19.51 with a smaller
# error before the law and six states in place of seven. No warning, and nothing in the result says so.
# What follows: compare weights, or the error before, never the estimate alone, against this package at its defaults.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check synthdid-py==0.1.0 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import scipy.optimize
import synthdid

panel = synthdid.panel_matrices(synthdid.load_california_prop99())
outcomes = np.asarray(panel.Y)
others, california, before = outcomes[: panel.N0], outcomes[-1], panel.T0


def error(weights):
    return float(np.sqrt(np.mean((california[:before] - weights @ others[:, :before]) ** 2)))


def seen(name, estimate, weights):
    print(f"{name:22} effect {estimate:.3f}, error before {error(weights):.4f}, states {np.sum(weights > 1e-3)}")
    return round(float(estimate), 2), round(error(weights), 3), int(np.sum(weights > 1e-3))


def weights_of(estimate):
    return np.asarray(estimate.weights.omega)


print("synthdid-py", version("synthdid-py"))
default = synthdid.sc_estimate(panel.Y, panel.N0, panel.T0)
longer = synthdid.sc_estimate(panel.Y, panel.N0, panel.T0, max_iter=1_000_000, min_decrease=1e-10)
target, donors = california[:before], others[:, :before].T
exact = scipy.optimize.minimize(
    lambda w: np.mean((donors @ w - target) ** 2), np.full(panel.N0, 1 / panel.N0),
    jac=lambda w: 2 * donors.T @ (donors @ w - target) / before, bounds=[(0, 1)] * panel.N0, method="SLSQP",
    constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}, options={"maxiter": 5_000, "ftol": 1e-14},
).x
after = float(np.mean(california[before:] - exact @ others[:, before:]))
rows = [
    seen("default", float(default), weights_of(default)),
    seen("a million steps", float(longer), weights_of(longer)),
    seen("SLSQP, same problem", after, exact),
]
assert rows == [(-19.62, 1.665, 7), (-19.52, 1.657, 6), (-19.51, 1.656, 6)], rows
PYTHON
