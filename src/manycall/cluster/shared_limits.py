"""The limits of a run, divided among its workers: the quotas of the endpoints, -j and the budgets."""
