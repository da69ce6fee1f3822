"""Pictures of trained networks and of class distances, and the instruments behind them."""
