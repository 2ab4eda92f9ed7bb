"""Standard and adversarial training and fine-tuning."""
