"""What a person looks at: comparisons and contact sheets."""
