"""How quantizers compute fast what their formulas say: nothing here decides what a code stands for."""
