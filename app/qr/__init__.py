"""Read QR codes out of pictures, and draw them."""
