"""The lifecycle: plan, apply, train, release."""
