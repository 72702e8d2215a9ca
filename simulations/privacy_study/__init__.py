"""What a promise costs in what is learned: zero-shot AUROC against epsilon, for each mechanism."""
