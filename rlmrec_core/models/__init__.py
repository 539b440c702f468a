"""What ranks: families of models, trained on a split."""
