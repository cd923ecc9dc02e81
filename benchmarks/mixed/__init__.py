"""A mixed load: trainings and predictions of ours, scripts of scikit-learn; with and without a queue."""
