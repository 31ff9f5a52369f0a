"""What runs on the nodes in a fault run: packed into the images, not imported here."""
