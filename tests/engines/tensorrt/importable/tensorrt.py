"""Simulated: the double that `SIMULATED_TENSORRT` names, for processes with this folder on their import path."""

import os
import sys

from tests.engines.tensorrt.simulated import module

sys.modules[__name__] = module(os.environ["SIMULATED_TENSORRT"])
