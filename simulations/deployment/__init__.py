"""A real Flower deployment on this machine: every party a process, TLS and node keys between them."""

from server.flower_app import app_folder
from simulations.deployment.loopback import LoopbackDeployment

__all__ = ["LoopbackDeployment", "app_folder"]
