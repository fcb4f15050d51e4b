"""An algorithm of somebody else's, as small as one can be: CONTRIBUTING walks through it."""
