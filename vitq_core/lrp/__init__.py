"""Layer-wise relevance propagation: rules that stand in for gradients."""
