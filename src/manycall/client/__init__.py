"""One request becomes one completion: permits, attempts, retries, endpoints."""
