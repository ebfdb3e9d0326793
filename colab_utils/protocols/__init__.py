"""Who trains, who validates and who is tested: folds, episodes, and the papers' tasks."""
