"""Training through mmengine: models that return losses, optimizer wrappers, hooks and runners."""
