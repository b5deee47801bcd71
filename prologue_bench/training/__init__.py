"""Training through mmengine: models whose forward pass is a loss, optimizer wrappers, hooks and runners."""
