"""The HTTP service: one router per noun, problem bodies, guards."""
