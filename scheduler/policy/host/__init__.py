"""How the machine is just now, whoever uses it: what a decision goes by besides the view."""
