"""Runs any Azure Functions app of the v2 model through Microsoft's own azure-functions-runtime."""
