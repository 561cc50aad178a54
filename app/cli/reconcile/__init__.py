"""`convey reconcile`: the shop's own list of orders against what the gateway says became of them."""
