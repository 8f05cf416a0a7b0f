"""Calibration: pictures in bounded memory, watched site by site."""

from .calibrate import calibrate
from .pictures import CalibrationPictures

__all__ = ["CalibrationPictures", "calibrate"]
