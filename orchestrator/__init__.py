"""orch: run training on GPU machines that you reach only by SSH. This package is the controller."""

__version__ = "0.1.0"
