"""The bundled models: the synthetic pictures they learn from and the script that trains them."""
