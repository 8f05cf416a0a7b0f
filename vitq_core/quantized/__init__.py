"""A rewritten model with a quantizer on every site: simulated, audited, weighed."""
