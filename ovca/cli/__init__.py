"""What the operator types: one file for each noun, thin."""
