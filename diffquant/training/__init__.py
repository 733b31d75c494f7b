"""Relaxation: gradient descent on a soft pipeline."""

from diffquant.training.batch import fit_batch
from diffquant.training.descent import Snapshot, fit
from diffquant.training.mesh import gathered, mesh_for, of_first, on_host, shared_rows
from diffquant.training.plan import Plan, PlanError, State, StateError, Tiles
from diffquant.training.state import restored

__all__ = [
    "Plan",
    "PlanError",
    "Snapshot",
    "State",
    "StateError",
    "Tiles",
    "fit",
    "fit_batch",
    "gathered",
    "mesh_for",
    "of_first",
    "on_host",
    "restored",
    "shared_rows",
]
