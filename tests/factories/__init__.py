"""What several tests make: tiny models, trainings, images, results."""
