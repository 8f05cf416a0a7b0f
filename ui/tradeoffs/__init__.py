"""The page of all runs: what each costs against how good it is, and what one can afford."""
