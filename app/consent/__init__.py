"""What the shopper allowed: signals as sent, and the decision for each destination. Pure."""
