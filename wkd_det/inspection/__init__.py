"""Pictures of trained networks and of class distances, the instruments behind them, and pairs."""
