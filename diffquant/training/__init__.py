"""Relaxation: gradient descent on a soft pipeline."""

from diffquant.training.descent import Snapshot, fit
from diffquant.training.plan import Plan, State, StateError, Tiles
from diffquant.training.state import restored

__all__ = ["Plan", "Snapshot", "State", "StateError", "Tiles", "fit", "restored"]
