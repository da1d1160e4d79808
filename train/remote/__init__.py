"""Training on another machine: Kaggle's notebooks and the jobs of Hugging Face."""
