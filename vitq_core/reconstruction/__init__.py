"""Learning rounding and scales: what a unit is trained on, the losses, the optimizer, state that resumes."""
