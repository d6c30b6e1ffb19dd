"""What sites tell us, and what is made of it."""
