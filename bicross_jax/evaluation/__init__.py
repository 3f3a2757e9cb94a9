"""What every task shares: running over batches, confidence intervals, reports."""
