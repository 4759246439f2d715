"""A look inside trained networks: the known troubles of recurrent training, measured and drawn.

Gradients by time step, units that never fire, saturated gates, the curves of training, and the
worst moments of the validation drive.
"""

from model_export.training.health.examination import Examination, examine
from model_export.training.health.folder import check_names, draw
from model_export.training.health.report import lines, summary

__all__ = ["Examination", "check_names", "draw", "examine", "lines", "summary"]
