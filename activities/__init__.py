"""Activities: one idempotent effect each. `names` is what orchestrations may know of them."""
