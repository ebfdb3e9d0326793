"""What all methods learn with: the contract of a study, the training loop, clips and tasks."""
