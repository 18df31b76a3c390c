"""What every room uses: errors in one line, files that are whole, input from elsewhere."""
