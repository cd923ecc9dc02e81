"""What calibration is measured with: a day on paper, and a real one."""
