"""First and second derivatives of a task's loss, and the way back through the inner loop."""
