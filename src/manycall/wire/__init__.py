"""One endpoint's bytes: what a Request looks like on the wire, and the one seam that carries it."""
