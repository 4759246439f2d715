"""A look inside trained networks: what the course MIT 6.S094 warns of, measured and drawn.

Gradients by time step, units that never fire, saturated gates, the curves of training, and the
worst moments of the validation drive.
"""

from model_export.training.health.examination import Examination, examine
from model_export.training.health.folder import check_names, draw
from model_export.training.health.report import lines, summary

__all__ = ["Examination", "check_names", "draw", "examine", "lines", "summary"]
