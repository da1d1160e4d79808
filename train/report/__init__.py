"""Plot the curves of training runs: `python -m train.report`."""
