"""What fine-tuning does to an embedding: measures, maps, and the clips that lie nearest."""
